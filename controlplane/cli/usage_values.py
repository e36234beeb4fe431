"""Flags whose value is missing or wrong: what to write in its place."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

_VALUE = "VALUE"


def flag_without_value(command: Any, argv: Sequence[str]) -> tuple[str, str] | None:
    """Return the first flag that has another flag, or nothing, where its value should be, and what that is called.

    typer takes what follows for the value, whatever it is, and wonders at the words behind it. `command` is typer's.
    """
    rest = list(argv)
    while rest and (inner := getattr(command, "commands", {}).get(rest[0])) is not None:
        command = inner
        del rest[0]
    flags = {flag: parameter for parameter in command.params for flag in parameter.opts if flag.startswith("-")}
    for word, following in zip_longest(rest, rest[1:]):
        if word == "--":
            break
        parameter = flags.get(word)
        if parameter is None or parameter.is_flag or parameter.count:
            continue
        if following is None or following.partition("=")[0] in flags:
            return word, parameter.metavar or _VALUE
    return None


def wrong_number(parameter: Any, given: object) -> str | None:
    """Return what to write for a number that is none or out of its bounds; None where it is no such parameter."""
    kind = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    if kind not in (int, float):
        return None
    number = "a whole number" if kind is int else "a number"
    if parameter.min is not None and parameter.max is not None:
        number += f" from {parameter.min} to {parameter.max}"
    elif parameter.min is not None:
        number += f" of at least {parameter.min}"
    elif parameter.max is not None:
        number += f" of at most {parameter.max}"
    return f"{parameter.opts[0]} is {given!r}; write {number}"
