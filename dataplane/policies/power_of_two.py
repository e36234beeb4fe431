"""Of two workers drawn at random, the less loaded one (Mitzenmacher, "The power of two choices", 2001).

With stale figures it does not herd as "the least loaded of all" would: a worker that looks best is still
only chosen when it is drawn.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from dataplane.policies.base import C, RequestView


class PowerOfTwo:
    """Two distinct candidates are drawn; equal loads go to the first drawn."""

    name = "power_of_two"

    def __init__(self, rng: random.Random) -> None:
        """Draw from `rng`."""
        self._rng = rng

    def pick(self, candidates: Sequence[C], request: RequestView) -> C:
        """Return the less loaded one of two."""
        count = len(candidates)
        if count == 1:
            return candidates[0]
        first = int(self._rng.random() * count)
        second = int(self._rng.random() * (count - 1))
        if second >= first:
            second += 1
        one, other = candidates[first], candidates[second]
        return other if other.load() < one.load() else one
