"""Of two workers drawn at random, the less loaded one (Mitzenmacher, "The power of two choices", 2001).

With stale figures it does not herd as "the least loaded of all" would: a worker that looks best is still
only chosen when it is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from dataplane.policies.base import C, Policy, RequestView, Why


class PowerOfTwo(Policy):
    """Two distinct candidates are drawn; equal loads go to the first drawn."""

    name = "power_of_two"

    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        """Return the less loaded one of two."""
        count = len(candidates)
        if count == 1:
            if why is not None:
                why.add(candidates[0], "the only one")
            return candidates[0]
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
            why.add(one, f"the less loaded of two drawn out of {count}", load)
            why.add(other, "drawn", other_load)
        return one
