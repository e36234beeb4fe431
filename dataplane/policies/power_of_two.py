"""Of two workers drawn at random, the less loaded one (Mitzenmacher, "The power of two choices", 2001).

With stale figures it does not herd as "the least loaded of all" would: a worker that looks best is still
only chosen when it is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from dataplane.policies.base import C, PlaneView, Policy, RequestView, Why
from dataplane.policies.weights import Drawing
from shared.table import RoutingTable


class PowerOfTwo(Policy):
    """Two distinct candidates are drawn; equal loads go to the first drawn.

    Where workers have different weights they are drawn by them, and loads are compared per weight.
    """

    name = "power_of_two"

    def __init__(self, plane: PlaneView) -> None:
        super().__init__(plane)
        self._drawing = Drawing(plane.rng)

    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        """Return the less loaded one of two."""
        count = len(candidates)
        if count == 1:
            if why is not None:
                why.add(candidates[0], "the only one")
            return candidates[0]
        if self.weighted:
            one, other = self._drawing.two(candidates, request.model)
            load, other_load = one.load() / one.weight, other.load() / other.weight
        else:
            draw = self.plane.rng.random
            first = int(draw() * count)
            second = int(draw() * (count - 1))
            if second >= first:
                second += 1
            one, other = candidates[first], candidates[second]
            load, other_load = one.load(), other.load()
        if other_load < load:
            one, other, load, other_load = other, one, other_load, load
        if why is not None:
            by_weight = " for its weight" * self.weighted
            why.add(one, f"the less loaded{by_weight} of two drawn out of {count}", load)
            why.add(other, "drawn", other_load)
        return one

    def follow(self, table: RoutingTable) -> None:
        """Know that the candidates may be others."""
        self._drawing.forget()
