"""Which configurations a router has had: plain values and functions. A file's text is kept as it was, comments and all.

Two texts of one file that were in use one after the other are never the same, so going back always changes something.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from shared.config import ConfigError

MAX_ENTRIES = 50
MAX_TEXT = 8 * 1024 * 1024
"""Characters of all entries together: the runtime folder often lies in memory. Two of the largest files fit."""

Cause = Literal["start", "reload", "SIGHUP", "watch", "apply", "rollback", "overwritten"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A text that came into use at `time` (Unix seconds). `keys` are those of the values that it changed.

    `file` is the path of the file that held it; empty in a history of a version that did not write it down. `detail`
    names the file that was applied, or the entry that was gone back to. An `overwritten` text was never in
    use: it stood in the file when another one was put there.
    """

    number: int
    time: float
    cause: Cause
    file: str = ""
    detail: str = ""
    keys: tuple[str, ...] = ()
    text: str


class History(msgspec.Struct, frozen=True, kw_only=True):
    """The entries, oldest first. Numbers only grow, and none is given twice."""

    entries: tuple[Entry, ...] = ()


def current(history: History) -> Entry | None:
    """Return the entry that is in use."""
    return next(_in_use(history), None)


def previous(history: History) -> Entry:
    """Return the entry that was in use before the present one.

    Raises ConfigError when there is none, and when it is that of another file: that would hold two fleets' texts.
    """
    found = [entry for _, entry in zip(range(2), _in_use(history), strict=False)]
    if len(found) < 2:
        raise ConfigError("there is no earlier configuration to go back to; `routerctl config history` lists all")
    in_use, before = found
    if before.file != in_use.file:
        raise ConfigError(
            f"configuration {before.number} is of {file_of(before)}, and since then the router was started with "
            f"{in_use.file}; start it with the other file again, or give this one that text all the same: "
            f"routerctl config rollback {before.number}"
        )
    return before


def file_of(entry: Entry) -> str:
    """Return how to name the file that held an entry's text."""
    return entry.file or "a file that was not written down"


def find(history: History, number: int) -> Entry:
    """Return an entry. Raises ConfigError when there is none of that number (any more)."""
    for entry in history.entries:
        if entry.number == number:
            return entry
    raise ConfigError(f"there is no configuration {number} in the history; `routerctl config history` lists all")


def added(
    history: History,
    text: str,
    cause: Cause,
    *,
    time: float,
    file: str = "",
    detail: str = "",
    keys: tuple[str, ...] = (),
) -> History:
    """Return the history with one more entry, unless that would only repeat the last one."""
    entries = history.entries
    newest = entries[-1] if entries else None
    before = newest if cause == "overwritten" else current(history)
    if before is not None and (before.file, before.text) == (file, text):
        return history
    number = newest.number + 1 if newest is not None else 1
    entry = Entry(number=number, time=time, cause=cause, file=file, detail=detail, keys=keys, text=text)
    return _pruned(History(entries=(*entries, entry)))


def _pruned(history: History) -> History:
    """Drop the oldest that are too many, but never the one in use."""
    entries, in_use = list(history.entries), current(history)
    size = sum(len(entry.text) for entry in entries)
    while len(entries) > MAX_ENTRIES or (size > MAX_TEXT and len(entries) > 2):
        oldest = next(entry for entry in entries if entry is not in_use)
        entries.remove(oldest)
        size -= len(oldest.text)
    return History(entries=tuple(entries))


def _in_use(history: History) -> Iterator[Entry]:
    return (entry for entry in reversed(history.entries) if entry.cause != "overwritten")
