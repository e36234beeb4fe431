"""A hash ring: which workers a key prefers, in an order on which all planes agree without talking.

Each worker has 128 points on a circle of 64-bit numbers for each unit of its weight, made from its id alone; a key's
workers are the owners of the points that follow its own. So a worker that goes takes only its own keys along, to the
next in their order, and they come home with it (Karger et al., "Consistent hashing and random trees", 1997).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from hashlib import shake_128

from shared.table import RoutingTable

POINTS = 128
"""Per worker of weight 1: with so many the share of a circle that each owns differs by a tenth, as a rule."""
_MOST_POINTS = 16 * POINTS


class Ring:
    """The circle of workers with their weights."""

    def __init__(self) -> None:
        self._members: Mapping[str, float] = {}
        self._points: list[int] = []
        self._owner: dict[int, str] = {}

    def follow(self, members: Mapping[str, float]) -> None:
        """Have exactly these workers on it, with these weights."""
        if members == self._members:
            return
        before, after = self._members.items(), members.items()
        # That two of a thousand workers meet at a point happens once in 10^9 fleets, and then it is one point.
        for gone, weight in before - after:
            for point in _points(gone, weight):
                self._owner.pop(point, None)
        for new, weight in after - before:
            self._owner.update(dict.fromkeys(_points(new, weight), new))
        self._members = members
        self._points = sorted(self._owner)

    def walk(self, key: int) -> Iterator[str]:
        """Yield every worker once, in the key's order of preference."""
        points = self._points
        owner = self._owner
        start = bisect_left(points, key)
        seen: set[str] = set()
        for index in range(start - len(points), start):
            worker = owner[points[index]]
            if worker not in seen:
                seen.add(worker)
                yield worker
                if len(seen) == len(self._members):
                    return


class Rings:
    """A ring per model, of all workers that may serve it, in whatever state: who is out for a moment keeps its keys."""

    def __init__(self) -> None:
        self._table: RoutingTable | None = None
        self._rings: dict[str | None, tuple[RoutingTable, Ring]] = {}

    def follow(self, table: RoutingTable) -> None:
        """Go by this table."""
        self._table = table
        for model in self._rings.keys() - table.models.keys() - {None}:
            del self._rings[model]

    def of(self, model: str | None) -> Ring:
        """Return the ring of a model's workers; models that nobody has named share one of all workers."""
        table = self._table
        if table is None:
            return Ring()
        if model not in table.models:
            model = None
        known = self._rings.get(model)
        if known is not None and known[0] is table:
            return known[1]
        ring = known[1] if known is not None else Ring()
        ring.follow(
            {
                worker.id: worker.weight or 1.0
                for worker in table.workers.values()
                if model is None or worker.models is None or model in worker.models
            }
        )
        self._rings[model] = (table, ring)
        return ring


def _points(worker: str, weight: float) -> array[int]:
    # Of two digests of one text the shorter is the beginning of the longer: a weight that grows moves no other keys.
    count = min(_MOST_POINTS, max(1, round(POINTS * weight)))
    return array("Q", shake_128(worker.encode()).digest(8 * count))
