"""The workers that one request may go to, as its plane's admission asks for them: is there room, and where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from dataplane.admission.worker_slots import NOTHING, Promised, WorkerLimits, WorkerSlots
from dataplane.candidates import free_candidates
from dataplane.fleet_view import FleetView, PoolName

if TYPE_CHECKING:
    from dataplane.fleet import Fleet
    from dataplane.request import Request
    from dataplane.slot import Slot

WHOLE: tuple[PoolName, ...] = ("plain",)
HALVES: tuple[PoolName, ...] = ("prefill", "decode")


class WorkersFor:
    """An `Among` (`dataplane.admission.worker_slots`): by the newest view, however long the request waits."""

    __slots__ = ("_alike", "_fleet", "_limits", "_pools", "_request", "_tried")

    def __init__(
        self,
        fleet: Fleet,
        limits: WorkerLimits,
        request: Request,
        pools: Sequence[PoolName],
        tried: Sequence[Slot] = (),
    ) -> None:
        """`pools` have a worker each; those that were `tried` are no good any more."""
        self._fleet = fleet
        self._limits = limits
        self._request = request
        self._pools = pools
        self._tried = tried
        self._alike: tuple[object, ...] | None = None

    def _what(self) -> tuple[object, ...]:
        if self._alike is None:
            request = self._request
            self._alike = (request.served, request.rank, request.wanted and self._home(), *self._pools, *self._tried)
        return self._alike

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WorkersFor) and self._what() == other._what()

    def __hash__(self) -> int:
        return hash(self._what())

    def _home(self) -> Slot | None:
        return self._fleet.homes.home(self._request.wanted, self._fleet.view.ready, self._tried)

    def _views(self) -> Iterator[tuple[PoolName, FleetView]]:
        view = self._fleet.view
        # There may be no pairs any more, and such a request goes to one worker then.
        return ((pool, view.of(pool)) for pool in (self._pools if view.pools else WHOLE))

    def have_room(self) -> bool:
        """Whether there is a free slot in each pool, or nobody at all."""
        full = self._limits.full
        if not full:
            return True
        return all(self._has_room(view, full) for _, view in self._views())

    def _has_room(self, view: FleetView, full: set[str]) -> bool:
        request = self._request
        if not (self._tried or request.wanted or self._fleet.avoidance.until):
            candidates = view.candidates(request.served, request.rank)
            if len(full) < len(candidates):
                return True
        free = self._free(view, full)
        return free is None or bool(free)

    def _free(self, view: FleetView, full: set[str]) -> tuple[Slot, ...] | None:
        return free_candidates(self._fleet, view, self._request, self._tried, full, self._fleet.now())

    def promise(self) -> Promised:
        """Return where it is to have a slot: the first free one of each pool."""
        promised: dict[str, WorkerSlots] = {}
        request, full = self._request, self._limits.full
        for pool, view in self._views():
            first: Slot | None = None
            if not (self._tried or request.wanted or self._fleet.avoidance.until):
                candidates = view.candidates(request.served, request.rank)
                first = next((slot for slot in candidates if slot.id not in full), None)
            if first is None:
                first = next(iter(self._free(view, full) or ()), None)
            if first is not None and (slots := self._limits.slots.get(first.id)) is not None:
                promised[pool] = slots
        return promised or NOTHING

    def limited(self) -> Iterator[WorkerSlots]:
        """Yield the slots of all of them that have a limit."""
        request, slots = self._request, self._limits.slots
        for _, view in self._views():
            home = self._home() if request.wanted else None
            groups = view.groups(request.served, request.rank) if home is None else ((home,),)
            for slot in chain.from_iterable(groups):
                if slot.id in slots and slot not in self._tried:
                    yield slots[slot.id]
