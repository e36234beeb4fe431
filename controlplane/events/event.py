"""An event: a line of the log that says what it is about."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

Kind = Literal["worker", "breaker", "process", "configuration", "discovery"]
Level = Literal["info", "warning", "error"]
Teller = Literal["control plane", "supervisor"]


class About(NamedTuple):
    """What a line is about: a kind of thing, and which one (a worker's id, a process' name); empty for the only one."""

    kind: Kind
    subject: str


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that changed. `time` is in Unix seconds, `text` is for people."""

    time: float
    level: Level
    kind: Kind
    subject: str = ""
    text: str
    told_by: Teller


def about(kind: Kind, subject: object = "") -> dict[str, object]:
    """Return what makes an event of a line of the log, as its `extra`."""
    return {"about": About(kind, str(subject))}


def about_plane(name: object) -> dict[str, object]:
    """Return the same for a plane of that name: its number, with its host's where it is elsewhere."""
    return about("process", f"plane {name}")
