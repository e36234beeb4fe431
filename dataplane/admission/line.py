"""Who waits, and who is next: by class first, then fairly between tenants, then by the order of arrival.

Requests for one model, of one class and one tenant wait in one lane. Among the lanes of the best class that could go
on, the tenant is next whose share has been used least: start-time fair queueing (Goyal, Vin and Cheng, 1996), with one
request as the unit. A tenant that begins to wait starts where the others are, so nobody saves up a share. No clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
Share = tuple[int, str]
"""A class and a tenant."""


class LaneKey(NamedTuple):
    """What the requests of one lane have in common. A lower `rank` is a better class."""

    rank: int
    tenant: str
    model: str | None

    @property
    def share(self) -> Share:
        """What of a limit is shared fairly: the class and the tenant."""
        return self.rank, self.tenant


class Line(Generic[T]):
    """All lanes. What waits (a `T`) is in one place at a time."""

    def __init__(self) -> None:
        self._lanes: dict[LaneKey, dict[T, int]] = {}
        self._clock: dict[int, float] = {}
        self._used: dict[tuple[int, str], float] = {}
        self._arrivals = 0
        self.by_model: Counter[str | None] = Counter()

    def __len__(self) -> int:
        return self.by_model.total()

    def __iter__(self) -> Iterator[T]:
        for lane in self._lanes.values():
            yield from lane

    def add(self, key: LaneKey, waiting: T) -> None:
        """Let one wait at the end of its lane."""
        self._arrivals += 1
        share = key.rank, key.tenant
        if all((other.rank, other.tenant) != share for other in self._lanes):
            now = self._clock.get(key.rank, 0.0)
            self._used[share] = max(self._used.get(share, 0.0), now)
        self._lanes.setdefault(key, {})[waiting] = self._arrivals
        self.by_model[key.model] += 1

    def remove(self, key: LaneKey, waiting: T) -> None:
        """Let one leave, from wherever it stands."""
        lane = self._lanes[key]
        del lane[waiting]
        if not lane:
            del self._lanes[key]
        self.by_model[key.model] -= 1
        if not self.by_model[key.model]:
            del self.by_model[key.model]
        if not self._lanes:
            # Nobody waits: nobody has used more than others.
            self._used.clear()
            self._clock.clear()

    def position(self, key: LaneKey) -> int:
        """Return how many wait ahead of one that would come now: those of its class or a better one."""
        return sum(len(lane) for other, lane in self._lanes.items() if other.rank <= key.rank)

    def first(self) -> Iterator[T]:
        """Yield the first of each lane."""
        return (next(iter(lane)) for lane in self._lanes.values())

    def next(self, can_go: Callable[[T], bool]) -> tuple[LaneKey, T] | None:
        """Return who is next among the lanes whose first one `can_go`; None if none can."""
        order = sorted(self._lanes.items(), key=lambda item: self._order(*item))
        for key, lane in order:
            first = next(iter(lane))
            if can_go(first):
                return key, first
        return None

    def went(self, key: LaneKey, weight: float = 1.0) -> None:
        """Count a request that went on against its tenant's share."""
        share = key.rank, key.tenant
        start = self._used.get(share, 0.0)
        self._clock[key.rank] = max(self._clock.get(key.rank, 0.0), start)
        self._used[share] = start + 1.0 / weight

    def _order(self, key: LaneKey, lane: dict[T, int]) -> tuple[int, float, int]:
        return key.rank, self._used.get((key.rank, key.tenant), 0.0), next(iter(lane.values()))
