"""The command line before typer sees it: several values behind one flag, and errors of one line with a hint."""

from __future__ import annotations

import re
from collections.abc import Sequence

from controlplane.cli.vllm_router_flags import INSTEAD, MEANINGS, SECRETS, SWITCHES
from shared.config import flag_of
from shared.config_fields import BOOLEANS, FLAGS, LISTS, nearest

START_FLAGS = frozenset({*map(flag_of, FLAGS), "--config", *MEANINGS})
_LIST_FLAGS = frozenset(map(flag_of, LISTS)) | (MEANINGS.keys() - SWITCHES)
_BOOLEAN_FLAGS = frozenset(map(flag_of, BOOLEANS)) | (MEANINGS.keys() & SWITCHES)
_NEGATIVE_NUMBER = re.compile(r"-\.?\d")


class UsageProblem(Exception):  # noqa: N818 - it is the user's mistake, no fault of the program
    """A command line that can not be understood; the message is one line with the cause and what to write."""


def normalise(argv: Sequence[str], switches: frozenset[str] = frozenset()) -> list[str]:
    """Return the arguments of `start` with each value tied to its flag: `--flag=value`, repeated for lists.

    A list flag takes every value up to the next flag, as vllm-router's argparse does. `switches` are flags
    without a value. Flags of vllm-router that mean others here come as those. Raises UsageProblem.
    """
    result: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        flag, tied, value = word.partition("=")
        if flag in switches or flag == "--help":
            if tied:
                raise UsageProblem(f"{flag} takes no value; write {flag} alone")
            result.append(flag)
            continue
        if not _is_flag(flag):
            raise UsageProblem(f"unexpected argument {word!r}; every value stands behind a flag, see --help")
        if flag not in START_FLAGS:
            raise unknown_flag(flag, switches)
        if flag in _BOOLEAN_FLAGS and not tied:
            # As with argparse: the flag alone means yes.
            tied, value = "=", "true"
        values = [value] if tied else _values(rest, many=flag in _LIST_FLAGS)
        if not values and flag in _LIST_FLAGS:
            # As with argparse: an empty list is a list.
            values = [""]
        if not values:
            raise UsageProblem(f"{flag} needs a value; write {flag} VALUE, see --help")
        result += [f"{flag}={value}" for value in values]
    return _in_own_words(result)


def _in_own_words(arguments: Sequence[str]) -> list[str]:
    """Say flags of vllm-router that mean others here by those, behind the rest: they win over it, as they do there."""
    own: list[str] = []
    meant: list[str] = []
    for argument in arguments:
        flag, _, value = argument.partition("=")
        meaning = MEANINGS.get(flag)
        if meaning is None:
            own.append(argument)
        else:
            meant += meaning(value)
    return own + meant


def _values(rest: list[str], *, many: bool) -> list[str]:
    """Take the values at the beginning of `rest` out of it."""
    values: list[str] = []
    while rest and not _is_flag(rest[0]) and (many or not values):
        values.append(rest.pop(0))
    return values


def _is_flag(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not _NEGATIVE_NUMBER.match(word)


def unknown_flag(flag: str, switches: frozenset[str] = frozenset()) -> UsageProblem:
    """Return what to raise for a flag that `start` does not have."""
    if flag in SECRETS:
        return UsageProblem(SECRETS[flag])
    if (instead := INSTEAD.get(flag)) is not None:
        return UsageProblem(f"{flag} of vllm-router is not offered; {instead}")
    near = nearest(flag, START_FLAGS | switches)
    return UsageProblem(
        f"unknown flag {flag}; " + (f"did you mean {near}?" if near else "`routerctl start --help` lists all")
    )


def as_fields(arguments: Sequence[str]) -> dict[str, str | list[str]]:
    """Return what `normalise` gave back by field: a list for list flags, the last value for others."""
    fields: dict[str, str | list[str]] = {}
    for argument in arguments:
        flag, _, value = argument.partition("=")
        field = flag.removeprefix("--").replace("-", "_")
        former = fields.get(field)
        if flag not in _LIST_FLAGS:
            fields[field] = value
        else:
            fields[field] = [*(former if isinstance(former, list) else ()), value]
    return fields
