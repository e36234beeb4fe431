"""What a plane may use of the limits of workers, and which workers are full: no choice is made among those.

A slot is taken when a request is about to be sent to the worker, and free with its last byte or its abort. One that
was promised to a request which has not chosen yet counts like one that is taken.
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


class WorkerSlots(Slots):
    """Requests at a time at one worker. Keeps the set of full workers right."""

    __slots__ = ("_full", "worker")

    def __init__(self, limit: Limit, full: set[str]) -> None:
        """Nothing is allowed yet, so the worker is full."""
        super().__init__(limit)
        self.worker = limit.name.removeprefix(WORKER)
        self._full = full
        full.add(self.worker)

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
        # Of workers that have left, or lost their limit, while requests were open: they may come back before those end.
        self._left: dict[str, WorkerSlots] = {}

    def use(self, limits: Iterable[Limit]) -> None:
        """Go by these limits. What is in use stays counted."""
        before = {**self._left, **self.slots}
        self.slots = {}
        for limit in limits:
            worker = limit.name.removeprefix(WORKER)
            slots = before.pop(worker, None)
            if slots is None:
                slots = WorkerSlots(limit, self.full)
            elif worker in self._left:
                self.full.add(worker)
            slots.limit = limit
            self.slots[worker] = slots
        self._left = {}
        for worker, slots in before.items():
            slots.allowed = 0
            self.full.discard(worker)
            if slots.in_use:
                self._left[worker] = slots

    def hold(self, worker: str, share: Share, now: float) -> WorkerSlots | None:
        """Take a slot of a worker; None if that has no limit."""
        slots = self.slots.get(worker)
        if slots is not None:
            slots.take(share, now)
        return slots
