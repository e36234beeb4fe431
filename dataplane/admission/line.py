"""Who waits, and who is next: by class first, then fairly between tenants, then by the order of arrival.

Requests of one class and one tenant that need the same wait in one lane. Among the lanes of the best class that can go
on, the tenant is next whose share has been used least: start-time fair queueing (Goyal, Vin and Cheng, 1996), with one
request as the unit. A tenant that begins to wait starts where the others are, so nobody saves up a share. No clock.

Each model has a heap of its lanes in their order. An entry is out of date once its lane's order has changed; the new
one stands in the heap by then, and the old one is left out when it comes up. So who is next is found without a look at
all lanes: a thousand tenants may wait, and each request that ends asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from heapq import heapify, heappop, heappush
from typing import Generic, NamedTuple, TypeVar

from shared.limits import CLASSES

T = TypeVar("T")
Share = tuple[int, str]
"""A class and a tenant."""


class LaneKey(NamedTuple):
    """What the requests of one lane have in common. A lower `rank` is a better class.

    Those that have `begun` wait for another worker, with what they have already: they are before all others. Where
    workers have limits, those of one lane can all go to the same ones, which is what `among` tells.
    """

    rank: int
    tenant: str
    model: str | None
    begun: bool = False
    among: Hashable = None

    @property
    def share(self) -> Share:
        """What of a limit is shared fairly: the class and the tenant."""
        return self.rank, self.tenant

    @property
    def stand(self) -> int:
        """What decides before shares do."""
        return self.rank - CLASSES if self.begun else self.rank


_Order = tuple[int, float, int]
"""The lane's stand, how much its tenant has used, and when its first one came."""
_MOST_OLD = 64
"""Entries that are out of date, beside as many as there are lanes, for which a heap is not made anew."""


class Line(Generic[T]):
    """All lanes. What waits (a `T`) is in one place at a time."""

    def __init__(self) -> None:
        self._lanes: dict[LaneKey, dict[T, int]] = {}
        self._clock: dict[int, float] = {}
        self._used: dict[Share, float] = {}
        self._arrivals = 0
        self._waiting = 0
        self._by_stand: Counter[int] = Counter()
        self._of_share: dict[Share, dict[LaneKey, None]] = {}
        self._heaps: dict[str | None, list[tuple[_Order, LaneKey]]] = {}
        self.by_model: Counter[str | None] = Counter()

    def __len__(self) -> int:
        return self._waiting

    def __iter__(self) -> Iterator[T]:
        for lane in self._lanes.values():
            yield from lane

    def add(self, key: LaneKey, waiting: T) -> None:
        """Let one wait at the end of its lane."""
        self._arrivals += 1
        share = key.share
        if share not in self._of_share:
            now = self._clock.get(key.rank, 0.0)
            self._used[share] = max(self._used.get(share, 0.0), now)
        self._waiting += 1
        self._by_stand[key.stand] += 1
        self.by_model[key.model] += 1
        lane = self._lanes.get(key)
        if lane is not None:
            lane[waiting] = self._arrivals
            return
        self._lanes[key] = {waiting: self._arrivals}
        self._of_share.setdefault(share, {})[key] = None
        self._enter_heap(key)

    def remove(self, key: LaneKey, waiting: T) -> None:
        """Let one leave, from wherever it stands."""
        lane = self._lanes[key]
        was_first = next(iter(lane)) is waiting
        del lane[waiting]
        self._waiting -= 1
        self._by_stand[key.stand] -= 1
        self.by_model[key.model] -= 1
        if not self.by_model[key.model]:
            del self.by_model[key.model], self._heaps[key.model]
        if not lane:
            del self._lanes[key]
            lanes = self._of_share[key.share]
            del lanes[key]
            if not lanes:
                del self._of_share[key.share]
        elif was_first:
            self._enter_heap(key)
        if not self._lanes:
            # Nobody waits: nobody has used more than others.
            self._used.clear()
            self._clock.clear()

    def position(self, key: LaneKey) -> int:
        """Return how many wait ahead of one that would come now: those of its class or a better one."""
        return sum(count for stand, count in self._by_stand.items() if stand <= key.stand)

    def waits(self, share: Share) -> bool:
        """Whether anything of a share waits."""
        return share in self._of_share

    @property
    def shares(self) -> int:
        """How many shares there are of which something waits."""
        return len(self._of_share)

    def count(self, key: LaneKey) -> int:
        """Return how many wait in a lane."""
        return len(self._lanes.get(key, ()))

    def first(self, key: LaneKey) -> T:
        """Return the first of a lane in which somebody waits."""
        return next(iter(self._lanes[key]))

    def lanes(self) -> Iterator[tuple[LaneKey, int]]:
        """Yield each lane and how many wait in it."""
        return ((key, len(lane)) for key, lane in self._lanes.items())

    def next(
        self, can_go: Callable[[T], bool], is_open: Callable[[str | None], bool] = lambda _model: True
    ) -> tuple[LaneKey, T] | None:
        """Return who is next among the lanes whose first one `can_go`; None if none can.

        `is_open` says of a model whether any of its requests could go: that spares asking each of them.
        """
        best: tuple[_Order, LaneKey] | None = None
        for model, heap in self._heaps.items():
            if not is_open(model):
                continue
            passed_over = []
            while heap and (best is None or heap[0] < best):
                order, key = heap[0]
                lane = self._lanes.get(key)
                if lane is None or order != self._order(key, lane):
                    heappop(heap)
                elif can_go(next(iter(lane))):
                    best = heap[0]
                else:
                    passed_over.append(heappop(heap))
            for entry in passed_over:
                heappush(heap, entry)
        return None if best is None else (best[1], next(iter(self._lanes[best[1]])))

    def went(self, key: LaneKey, weight: float = 1.0) -> None:
        """Count a request that went on against its tenant's share."""
        share = key.share
        start = self._used.get(share, 0.0)
        self._clock[key.rank] = max(self._clock.get(key.rank, 0.0), start)
        self._used[share] = start + 1.0 / weight
        for lane in self._of_share.get(share, ()):
            self._enter_heap(lane)

    def _enter_heap(self, key: LaneKey) -> None:
        heap = self._heaps.setdefault(key.model, [])
        heappush(heap, (self._order(key, self._lanes[key]), key))
        if len(heap) > 2 * self.by_model[key.model] + _MOST_OLD:
            heap[:] = [(self._order(one, lane), one) for one, lane in self._lanes.items() if one.model == key.model]
            heapify(heap)

    def _order(self, key: LaneKey, lane: dict[T, int]) -> _Order:
        return key.stand, self._used.get(key.share, 0.0), next(iter(lane.values()))
