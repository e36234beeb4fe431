"""One request before the plane's limits: what it is counted for, and how it waits."""

from __future__ import annotations

from enum import Enum

from dataplane.admission.key_limits import Use
from dataplane.admission.line import LaneKey
from dataplane.admission.quota import Shared, all_have_room
from dataplane.admission.worker_slots import NOTHING, Among, Promised


class State(Enum):
    """Where a request stands."""

    WAITING = "waiting"
    ADMITTED = "admitted"
    OVER = "over"


class Ticket:
    """One request's stand: what it is counted for, and how it waited. `size` is its body's, in bytes.

    `patience` are the seconds that it may wait by its own word; None: it says nothing of that.
    `use` is what it has of its key's own limits, where the key has some. `limit` is the name of the one that had no
    room for it (`WORKER`: all of its workers were full): it waited for that, or was refused.
    Of one that waited, `position` is how many were ahead of it and `expected` how many seconds that was thought to
    take (None: not known); `since` is when it came, `went` when it went on. One that waits for a lease alone, where
    nobody else may wait, does so `until` then. Where workers have limits, it needs a slot
    `among` some, and is `promised` some.
    """

    __slots__ = (
        "among",
        "expected",
        "key",
        "limit",
        "patience",
        "position",
        "promised",
        "quotas",
        "since",
        "size",
        "state",
        "until",
        "use",
        "went",
    )

    def __init__(
        self, key: LaneKey, size: int, now: float, use: Use | None = None, patience: float | None = None
    ) -> None:
        self.key = key
        self.patience = patience
        self.use = use
        self.size = size
        self.since = now
        self.state = State.WAITING
        self.quotas: tuple[Shared, ...] = ()
        self.position: int | None = None
        self.expected: float | None = None
        self.limit = ""
        self.went: float | None = None
        self.until: float | None = None
        self.among: Among | None = None
        self.promised: Promised = NOTHING

    def could_go(self, now: float) -> bool:
        """Whether there is room for it."""
        return all_have_room(self.quotas, now) and (self.among is None or self.among.have_room())
