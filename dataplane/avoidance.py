"""Workers that a plane keeps away from for a moment, because it could not reach them.

Between a worker's death and the table that says so lies about a second. Without this every request drawn to
the dead worker would be a retry; with it only the first ones are. The pause doubles with each failure in a
row, from 0.2 s to 5 s; a worker is tried again when it is over. If all candidates are avoided, none is.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0

K = TypeVar("K", bound=Hashable)


class Avoidance(Generic[K]):
    """Times are in seconds on any one clock. Holds only workers that failed last time: few, as a rule none."""

    def __init__(self) -> None:
        self._failures: dict[K, int] = {}
        self.until: dict[K, float] = {}
        """Those that are avoided, each with the end of its pause."""

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._failures)

    def failed(self, worker: K, now: float) -> None:
        """Note that the worker could not be reached."""
        failures = self._failures.get(worker, 0)
        self._failures[worker] = failures + 1
        self.until[worker] = now + min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures, 10))

    def reached(self, worker: K) -> None:
        """Note that the worker was reached."""
        self._failures.pop(worker, None)
        self.until.pop(worker, None)

    def forget_all_but(self, workers: set[K]) -> None:
        """Forget workers that are gone."""
        for worker in self._failures.keys() - workers:
            self.reached(worker)

    def avoids(self, worker: K, now: float) -> bool:
        """Whether the worker is avoided now."""
        return self.until.get(worker, 0.0) > now

    def preferred(self, candidates: tuple[K, ...], now: float) -> tuple[K, ...]:
        """Return the candidates that are not avoided now; all of them if every one is."""
        if not self.until:
            return candidates
        return tuple(one for one in candidates if self.until.get(one, 0.0) <= now) or candidates
