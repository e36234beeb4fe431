"""What a plane may use of the limits of workers, and which workers are full: no choice is made among those.

A slot is taken when a request is about to be sent to the worker, and free with its last byte or its abort. One that
was promised to a request which has not chosen yet counts like one that is taken. So do requests that were open at a
worker before it had a limit, and hold no slot: how many of them are left is looked for.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

from dataplane.admission.line import Share
from dataplane.admission.quota import Slots
from shared.limits import WORKER, Limit

Promised = Mapping[str, "WorkerSlots"]
"""By the names of pools: a request that two workers serve is promised a slot of each."""
NOTHING: Promised = MappingProxyType({})
NOBODY: Share = (0, "")
"""Whose those are that hold no slot: of all requests where there are no keys."""


class WorkerSlots(Slots):
    """Requests at a time at one worker. Keeps the set of full workers right."""

    __slots__ = ("_full", "slotless", "worker")

    def __init__(self, limit: Limit, full: set[str]) -> None:
        """Nothing is allowed yet, so the worker is full."""
        super().__init__(limit)
        self.worker = limit.name.removeprefix(WORKER)
        self.slotless = 0
        self._full = full
        full.add(self.worker)

    def find(self, there: int) -> None:
        """Count those without a slot: `there` are open in all."""
        more = max(0, there - self.in_use)
        self.slotless += more
        self.in_use += more
        self.by_share[NOBODY] += more

    def look(self, there: int) -> None:
        """Know that no more than `there` are open in all by now."""
        ended = min(self.slotless, self.in_use - there)
        if ended > 0:
            self.slotless -= ended
            self.in_use -= ended
            self.by_share[NOBODY] -= ended
            if self.in_use < self.allowed:
                self._full.discard(self.worker)

    def allow(self, amount: int, now: float) -> None:
        """Go by another amount."""
        self.allowed = amount
        if self.in_use < amount:
            self._full.discard(self.worker)
        else:
            self._full.add(self.worker)

    def take(self, share: Share, now: float) -> None:
        """Let one go there."""
        # As `Slots` does it, without the call: this is done for each request.
        self.in_use += 1
        self.by_share[share] += 1
        if self.in_use >= self.allowed:
            self._full.add(self.worker)

    def give_back(self, share: Share) -> None:
        """Know that one has ended."""
        self.in_use -= 1
        self.by_share[share] -= 1
        # A worker without a limit is never full, whatever is still counted of the time before.
        if self.in_use < self.allowed:
            self._full.discard(self.worker)


class Among(Protocol):
    """The workers of which a request needs one; of both halves where two workers serve it.

    Two are equal whose answers are, for as long as a request waits.
    """

    @abstractmethod
    def __hash__(self) -> int: ...

    def have_room(self) -> bool:
        """Whether there is a slot for it, or nobody at all, which it has to be told at once."""
        ...

    def promise(self) -> Promised:
        """Return where it is to have a slot; nothing of workers without a limit."""
        ...

    def limited(self) -> Iterable[WorkerSlots]:
        """Yield the slots of all of them that have a limit."""
        ...


class WorkerLimits:
    """The slots of all workers that have a limit; `full` has the ids of those without a free one."""

    def __init__(self) -> None:
        self.full: set[str] = set()
        self.slots: dict[str, WorkerSlots] = {}
        # Those at which requests without a slot are open.
        self.unsure: list[WorkerSlots] = []
        # Of workers that have left, or lost their limit, while requests were open: they may come back before those end.
        self._left: dict[str, WorkerSlots] = {}

    def use(self, limits: Iterable[Limit], there: Mapping[str, int] = MappingProxyType({})) -> None:
        """Go by these limits. What is in use stays counted; `there` is what is open at each worker, slot or not."""
        before = {**self._left, **self.slots}
        self.slots = {}
        for limit in limits:
            worker = limit.name.removeprefix(WORKER)
            slots = before.pop(worker, None)
            if slots is None or worker in self._left:
                slots = slots or WorkerSlots(limit, self.full)
                slots.find(there.get(worker, 0))
                self.full.add(worker)
            slots.limit = limit
            self.slots[worker] = slots
        self._left = {}
        for worker, slots in before.items():
            slots.allowed = 0
            self.full.discard(worker)
            if slots.in_use:
                self._left[worker] = slots

        self.unsure = [slots for slots in self.slots.values() if slots.slotless]

    def look(self, there: Mapping[str, int]) -> None:
        """Know how many requests are open at each worker now; to be called while some may be without a slot."""
        for slots in self.unsure:
            slots.look(there.get(slots.worker, 0))
        self.unsure = [slots for slots in self.unsure if slots.slotless]

    def hold(self, worker: str, share: Share, now: float) -> WorkerSlots | None:
        """Take a slot of a worker; None if that has no limit."""
        slots = self.slots.get(worker)
        if slots is not None:
            slots.take(share, now)
        return slots
