"""Reads the events that the router's processes have kept, with or without them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

import msgspec

from controlplane.events.event import Event, Teller
from shared.decoding import DECODE_ERRORS
from shared.runtime_dir import RuntimeDir

MAX_EVENTS = 1000
"""The most that are told at once."""
TAIL = 32 * 1024
"""Bytes: some 150 events."""


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `GET /events`, the oldest first."""

    events: tuple[Event, ...]


def read_events(runtime: RuntimeDir, *, after: float = 0.0, limit: int = MAX_EVENTS) -> Events:
    """Return the newest `limit` events of all processes that happened later than `after` (Unix seconds)."""
    files = [runtime.events(teller) for teller in get_args(Teller)]
    found = [event for file in files for event in _kept(file) if event.time > after]
    found.sort(key=lambda event: event.time)
    return Events(events=tuple(found[-limit:] if limit else ()))


def newest_events(runtime: RuntimeDir, limit: int) -> tuple[Event, ...]:
    """Return the newest `limit` events among the last `TAIL` bytes of each file, the oldest first.

    For those that ask again and again: it takes as long for files that are full as for those that are not.
    """
    found = [event for teller in get_args(Teller) for event in _last(runtime.events(teller))]
    found.sort(key=lambda event: event.time)
    return tuple(found[-limit:] if limit else ())


def _last(file: Path) -> Iterable[Event]:
    # A file that has just become the older one leaves one with hardly anything in it.
    for path in (file.with_name(f"{file.name}.1"), file):
        try:
            with path.open("rb") as opened:
                size = opened.seek(0, os.SEEK_END)
                opened.seek(max(0, size - TAIL))
                lines = opened.read(TAIL).splitlines()
        except FileNotFoundError:
            continue
        yield from _decoded(lines if size <= TAIL else lines[1:])


def _kept(file: Path) -> Iterable[Event]:
    for path in (file.with_name(f"{file.name}.1"), file):
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:
            continue
        yield from _decoded(lines)


def _decoded(lines: Iterable[bytes]) -> Iterator[Event]:
    for line in lines:
        try:
            yield _decode(line)
        except DECODE_ERRORS:
            # A full disk leaves parts of lines, and another version may write other events.
            continue


_decode = msgspec.json.Decoder(Event).decode
