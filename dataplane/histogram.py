"""Observations in buckets, as integers: what planes report and the control plane sums."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from shared import catalog


class Histogram:
    """Observations in seconds, by upper bounds; the last bucket, +Inf, is implied."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Add so many of one value."""
        self.counts[bisect_left(self._bounds, seconds)] += times
        self.sum += seconds * times


class Timings:
    """How long one worker took, over all its lives."""

    __slots__ = ("answers", "first_byte", "seconds")

    def __init__(self) -> None:
        self.answers = 0
        self.seconds = 0.0
        self.first_byte = Histogram(catalog.WORKER_FIRST_BYTE.buckets)

    def complete(self, seconds: float, first_byte: float | None) -> None:
        """Count a whole answer; both are since it was asked for, `first_byte` None where it did not come in parts."""
        self.answers += 1
        self.seconds += seconds
        if first_byte is not None:
            self.first_byte.observe(first_byte)
