"""Of each bucket of a histogram the last traced request: the way from a graph to one of its traces."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from shared.catalog import Metric
from shared.plane_report import MAX_EXEMPLARS, Exemplar


class Exemplars:
    """Keeps the newest `MAX_EXEMPLARS`. Only requests that are traced come here."""

    def __init__(self, wall: Callable[[], float]) -> None:
        """`wall` gives Unix time in seconds."""
        self._wall = wall
        self._kept: dict[tuple[str, tuple[str, ...], int], Exemplar] = {}

    def note(self, metric: Metric, labels: tuple[str, ...], seconds: float, trace: str) -> None:
        """Keep an observation of a histogram, and its trace's id."""
        bucket = bisect_left(metric.buckets, seconds)
        key = (metric.name, labels, bucket)
        # The last in the order is the newest.
        self._kept.pop(key, None)
        self._kept[key] = Exemplar(metric.name, labels, bucket, trace, seconds, round(self._wall(), 3))
        if len(self._kept) > MAX_EXEMPLARS:
            del self._kept[next(iter(self._kept))]

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()

    def series(self) -> tuple[Exemplar, ...]:
        """All that are kept, in the shape of the wire."""
        return tuple(self._kept.values())
