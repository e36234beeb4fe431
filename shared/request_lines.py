"""A plane's open and last requests, a line each; `shared.receipt` tells all of one that has ended."""

from __future__ import annotations

import msgspec

MAX_LINES = 200
"""Requests of each kind that a plane tells of at once: more than anybody reads, and some 50 KB."""


class RequestLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request. `arrived` is Unix time; `first_byte` and `ended` are in seconds after it.

    An open one is in a `phase` (`dataplane.timeouts`) and has no `outcome`; of one that has ended it is the other way
    round (`shared.receipt`). `workers` has the worker of each attempt, of which `failed` did.
    """

    request: str
    plane: str
    method: str
    path: str
    model: str | None = None
    arrived: float
    workers: tuple[str, ...] = ()
    failed: int = 0
    phase: str = ""
    outcome: str = ""
    status: int = 0
    first_byte: float | None = None
    ended: float | None = None


class RequestLines(msgspec.Struct, frozen=True, kw_only=True):
    """`active` counts all open requests; those of `open` are the oldest ones, the oldest first.

    `ended` has the last ones, the newest first.
    """

    active: int = 0
    open: tuple[RequestLine, ...] = ()
    ended: tuple[RequestLine, ...] = ()


def merged(several: tuple[RequestLines, ...], most: int) -> RequestLines:
    """Return the lines of several planes as those of one, `most` of each kind."""
    opened = sorted((line for lines in several for line in lines.open), key=lambda line: line.arrived)
    ended = sorted(
        (line for lines in several for line in lines.ended),
        key=lambda line: line.arrived + (line.ended or 0.0),
        reverse=True,
    )
    active = sum(lines.active for lines in several)
    return RequestLines(active=active, open=tuple(opened[:most]), ended=tuple(ended[:most]))
