"""Slow start: a worker that has just become ready gets a share of requests that grows to a full one.

A new engine has an empty prefix cache and compiles at its first requests, and one that was taken out may fail again.
A policy that goes by load would send all that comes to the one worker that has nothing to do. So, whatever the policy,
a warming worker is left out of a request's candidates with probability 1 - share, and

    share = 0.1 + 0.9 * seconds since it became ready / length of the slow start

which is Envoy's slow start with its aggression at 1. That holds only beside a candidate that is warm: a fleet that
starts together, or a plane that has just been started and knows nobody for longer, leaves nobody out.

While no worker warms, a request pays one attribute test for this; while one does, a pass over its candidates.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

FIRST_SHARE = 0.1
"""Envoy's `min_weight_percent`: enough to fill caches and to show a fault, too little to hurt."""

K = TypeVar("K", bound=Hashable)


class SlowStart(Generic[K]):
    """Since when each worker has been ready, as this plane saw it. Times are in seconds on any one clock."""

    def __init__(self, rng: random.Random) -> None:
        """Draw from `rng`."""
        self._rng = rng
        self._length = 0.0
        self._since: dict[K, float] = {}
        self.warming: dict[K, float] = {}
        """The shares of those that are left out of most choices; empty while nobody is warm."""

    def use(self, ready: Iterable[K], length: float, now: float) -> None:
        """Know which workers are ready now, and how long a slow start lasts (0: there is none)."""
        self._length = length
        self._since = {worker: self._since.get(worker, now) for worker in ready}
        self.tick(now)

    def tick(self, now: float) -> None:
        """Let time pass. Between two calls shares stay as they are: once a second is often enough."""
        length = self._length
        ages = {worker: now - since for worker, since in self._since.items()}
        warming = {worker: age for worker, age in ages.items() if age < length}
        if len(warming) == len(ages):
            # Nobody is warm.
            warming = {}
        self.warming = {worker: FIRST_SHARE + (1 - FIRST_SHARE) * age / length for worker, age in warming.items()}

    def thinned(self, candidates: tuple[K, ...]) -> tuple[K, ...]:
        """Return the candidates of one request: without some of those that warm, if any that is warm is left."""
        warming = self.warming
        if not warming:
            return candidates
        draw = self._rng.random
        out = {worker for worker, share in warming.items() if draw() >= share}
        if not out:
            return candidates
        kept = tuple(worker for worker in candidates if worker not in out)
        return kept if any(worker not in warming for worker in kept) else candidates
