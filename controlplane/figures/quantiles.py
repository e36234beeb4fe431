"""Quantiles of times that were counted in buckets."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Quantiles(msgspec.Struct, frozen=True, kw_only=True):
    """Of `count` times: half, 95 % and 99 % of them were not longer than these seconds, and their mean."""

    count: int
    p50: float
    p95: float
    p99: float
    mean: float


def quantiles(counts: Sequence[int], total: float, bounds: Sequence[float]) -> Quantiles | None:
    """Return those of observations per bucket (not cumulative, the last is +Inf) of this sum; None where none are."""
    count = sum(counts)
    if not count:
        return None
    p50, p95, p99 = (quantile(part, counts, bounds) for part in (0.5, 0.95, 0.99))
    return Quantiles(count=count, p50=p50, p95=p95, p99=p99, mean=round(total / count, 6))


def quantile(part: float, counts: Sequence[int], bounds: Sequence[float]) -> float:
    """Return what this part of the times was not longer than, in seconds.

    As Prometheus' histogram_quantile: within a bucket they are taken as spread evenly, and above the last bound
    nothing is known but that bound.
    """
    rank = part * sum(counts)
    below = 0
    for place, count in enumerate(counts[: len(bounds)]):
        if count and below + count >= rank:
            lower = bounds[place - 1] if place else 0.0
            return round(lower + (bounds[place] - lower) * (rank - below) / count, 6)
        below += count
    return bounds[-1]
