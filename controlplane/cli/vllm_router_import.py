"""A command line of vllm-router, turned into the values of a configuration file and what it can not say."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from controlplane.cli.argv import START_FLAGS, as_fields, normalise, unknown_flag
from controlplane.cli.vllm_router_flags import INSTEAD, SECRETS
from shared.config import flag_of
from shared.config_sources import Gathered, gather
from shared.kubernetes_config import POD_FIELDS

_KEY = "write the key to a file that only the router's user can read, and name that with api_key_file"
_PD, _PODS = "vllm_pd_disaggregation", "service_discovery"
_PASSED_OVER: tuple[tuple[str, bool, str], ...] = (
    (_PD, True, "worker_urls"),
    (_PD, True, "selector"),
    (_PD, False, "prefill_selector"),
    (_PD, False, "decode_selector"),
    (_PODS, True, "worker_urls"),
    *((_PODS, False, field) for field in POD_FIELDS),
)
"""What vllm-router passes over with a switch, or without it; here it would count, or be refused."""


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
    for switch, is_on, field in _PASSED_OVER:
        if (given.get(switch) == "true") is is_on and given.pop(field, None) is not None:
            how = "with" if is_on else "without"
            left_out.append(f"{field}: left out, as vllm-router passes over it {how} {flag_of(switch)}")
    return Carried(gather(given, {}), tuple(given), tuple(dict.fromkeys(left_out)))


def _flags(words: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield each flag with the words that give it: itself, with what is tied to it by =, and those behind it."""
    rest = list(itertools.dropwhile(lambda word: not word.startswith("--"), words))
    while rest:
        given = [rest.pop(0)]
        while rest and not rest[0].startswith("--"):
            given.append(rest.pop(0))
        yield given[0].partition("=")[0], given
