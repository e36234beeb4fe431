"""The least loaded worker, by a formula that has a name (`dataplane/load.py`).

Planes that look at the same figures would all find the same worker. So each starts its look at another one, one
further with each request: of equal ones it takes the first it meets.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from dataplane.load import DEFAULT_FORMULA, FORMULAS
from dataplane.policies.base import C, PlaneView, Policy, RequestView, Why
from shared.table import RoutingTable

_SCORE = itemgetter(0)


class LeastLoad(Policy):
    """Looks at every candidate: about 1 us each. Where workers have different weights their load per weight counts."""

    name = "least_load"

    def __init__(self, plane: PlaneView) -> None:
        super().__init__(plane)
        self._name = DEFAULT_FORMULA
        self._formula = FORMULAS[DEFAULT_FORMULA]
        self._start = 0
        self._share = 0.0

    def follow(self, table: RoutingTable) -> None:
        """Take the formula up, and the plane's share of the workers as the place to start at."""
        self._name = table.settings.load_formula
        self._formula = FORMULAS[self._name]
        self._share = self.plane.slot / max(1, table.settings.data_planes)

    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        """Return the least loaded one."""
        count = len(candidates)
        start = (int(self._share * count) + self._start) % count
        self._start += 1
        formula = self._formula
        if why is not None or self.weighted:
            turned = (*candidates[start:], *candidates[:start])
            if not self.weighted:
                scored = [(formula(one.figures()), one) for one in turned]
            else:
                scored = [(formula(one.figures()) / one.weight, one) for one in turned]
            if why is None:
                return min(scored, key=_SCORE)[1]
            scored.sort(key=_SCORE)
            for score, one in scored:
                why.add(one, f"load by formula {self._name}{' per weight' * self.weighted}", score)
            return scored[0][1]
        best = candidates[start]
        least = formula(best.figures())
        for index in range(start + 1 - count, start):
            score = formula(candidates[index].figures())
            if score < least:
                best, least = candidates[index], score
        return best
