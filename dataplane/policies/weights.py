"""Choosing by weight, for fleets whose workers do not all have the same.

A policy asks for these only while `Policy.weighted` holds, so that equal weights cost nothing.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import inf

from dataplane.policies.base import C, Candidate
from shared.table import RoutingTable

_MOST_TURNS = 65_536
_MOST_SUMS = 64


def has_weights(table: RoutingTable) -> bool:
    """Whether workers of a table have different weights. Those of weight 0 are equal among themselves, and apart."""
    return len({worker.weight for worker in table.workers.values() if worker.weight}) > 1


class Turns:
    """Stride scheduling (Waldspurger and Weihl, 1995): a worker's turns are 1 / weight apart in a time of their own.

    Each next request goes to whose turn is next, so a worker of weight 2 has two turns for each one of weight 1, and
    never two together where they can be apart. Each begins somewhere within its first stride: planes that start
    together do not all begin at the same worker. There is such a time per model, as in `round_robin`.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._next: dict[str | None, dict[str, float]] = {}
        self._now: dict[str | None, float] = {}
        self._known = 0

    def next(self, candidates: Sequence[C], model: str | None) -> C:
        """Return whose turn it is. Costs less than 0.1 us per candidate."""
        turns = self._next.setdefault(model, {})
        now = self._now.get(model, 0.0)
        chosen, least = candidates[0], inf
        for one in candidates:
            at = turns.get(one.id)
            if at is None:
                at = turns[one.id] = now + self._rng.random() / one.weight
                self._known += 1
            if at < least:
                chosen, least = one, at
        # Who was away for a while has missed its turns.
        now = self._now[model] = max(now, least)
        turns[chosen.id] = now + 1 / chosen.weight
        if self._known > _MOST_TURNS:
            # Workers that take any model let clients make names up.
            self._next.clear()
            self._now.clear()
            self._known = 0
        return chosen


class Drawing:
    """Draws candidates at random, each as often as its weight says."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        # Kept per model: a table's candidates for it are the same object each time, unless some are left out.
        self._sums: dict[str | None, tuple[Sequence[Candidate], list[float]]] = {}

    def forget(self) -> None:
        """Know that candidates or their weights may be others from now on."""
        self._sums.clear()

    def one(self, candidates: Sequence[C], model: str | None) -> C:
        """Return one."""
        sums = self._sums_of(candidates, model)
        return candidates[self._index(sums, self._rng.random() * sums[-1])]

    def two(self, candidates: Sequence[C], model: str | None) -> tuple[C, C]:
        """Return two different ones of at least two; the second is drawn from all but the first."""
        sums = self._sums_of(candidates, model)
        first = self._index(sums, self._rng.random() * sums[-1])
        before = sums[first - 1] if first else 0.0
        point = self._rng.random() * (sums[-1] - (sums[first] - before))
        second = self._index(sums, point if point < before else point + sums[first] - before)
        if second == first:
            # The sums are rounded: the point fell on the edge between two.
            second = first - 1 if first else 1
        return candidates[first], candidates[second]

    def _sums_of(self, candidates: Sequence[C], model: str | None) -> list[float]:
        known = self._sums.get(model)
        if known is not None and known[0] is candidates:
            return known[1]
        sums = list(accumulate(one.weight for one in candidates))
        if len(self._sums) >= _MOST_SUMS:
            self._sums.clear()
        self._sums[model] = (candidates, sums)
        return sums

    @staticmethod
    def _index(sums: list[float], point: float) -> int:
        return min(bisect_right(sums, point), len(sums) - 1)
