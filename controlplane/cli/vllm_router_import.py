"""A command line of vllm-router, turned into the values of a configuration file and what it can not say."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from controlplane.cli.argv import START_FLAGS, as_fields, normalise, unknown_flag
from controlplane.cli.vllm_router_flags import INSTEAD, SECRETS
from shared.config_sources import Gathered, gather

_KEY = "write the key to a file that only the router's user can read, and name that with api_key_file"
_WITHOUT_FLAG = "worker_urls: left out, as vllm-router passes over it with --vllm-pd-disaggregation"


class Carried(NamedTuple):
    """What a command line says: the values, by field, and lines about what was left out. No line repeats a value."""

    gathered: Gathered
    fields: tuple[str, ...]
    left_out: tuple[str, ...]


def carry_over(words: Sequence[str]) -> Carried:
    """Read a command line; what stands before its first flag (`vllm-router`, `python3 -m ...`) is passed over.

    Raises UsageProblem for what is no command line of vllm-router.
    """
    taken: list[str] = []
    left_out: list[str] = []
    for flag, given_by in _flags(words):
        if flag in SECRETS:
            left_out.append(f"{flag}: {_KEY}")
        elif (instead := INSTEAD.get(flag)) is not None:
            left_out.append(f"{flag} is not offered; {instead}")
        elif flag in START_FLAGS:
            taken += given_by
        else:
            raise unknown_flag(flag)
    given = as_fields(normalise(taken))
    if given.get("vllm_pd_disaggregation") == "true" and "worker_urls" in given:
        del given["worker_urls"]
        left_out.append(_WITHOUT_FLAG)
    return Carried(gather(given, {}), tuple(given), tuple(dict.fromkeys(left_out)))


def _flags(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each flag with the words that give it: itself, with what is tied to it by =, and those behind it."""
    rest = list(itertools.dropwhile(lambda word: not word.startswith("--"), words))
    while rest:
        given = [rest.pop(0)]
        while rest and not rest[0].startswith("--"):
            given.append(rest.pop(0))
        yield given[0].partition("=")[0], given
