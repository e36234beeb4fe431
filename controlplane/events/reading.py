"""Reads the events that the router's processes have kept, with or without them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import msgspec

from controlplane.events.event import Event, Teller
from shared.decoding import DECODE_ERRORS
from shared.runtime_dir import RuntimeDir

MAX_EVENTS = 1000
"""The most that are told at once."""


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `GET /events`, the oldest first."""

    events: tuple[Event, ...]


def read_events(runtime: RuntimeDir, *, after: float = 0.0, limit: int = MAX_EVENTS) -> Events:
    """Return the newest `limit` events of all processes that happened later than `after` (Unix seconds)."""
    files = [runtime.events(teller) for teller in get_args(Teller)]
    found = [event for file in files for event in _kept(file) if event.time > after]
    found.sort(key=lambda event: event.time)
    return Events(events=tuple(found[-limit:] if limit else ()))


def _kept(file: Path) -> Iterable[Event]:
    for path in (file.with_name(f"{file.name}.1"), file):
        try:
            lines = path.read_bytes().splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            try:
                yield _decode(line)
            except DECODE_ERRORS:
                # A full disk leaves parts of lines, and another version may write other events.
                continue


_decode = msgspec.json.Decoder(Event).decode
