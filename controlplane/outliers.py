"""Outlier detection: which workers of a pool do so much worse than the others that they should be ejected.

Success rate, after Envoy's outlier detection ("Success rate"; envoyproxy.io/docs, upstream/outlier): of the workers
that have had `request_volume` requests in the interval, if they are `minimum_workers` at least, those are outliers
whose success rate is below

    mean - stdev_factor * standard deviation

of the rates. One bad worker among n has a distance of sqrt(n - 1) deviations at most, so a factor of 1.9 can find
nobody among fewer than five. Where all are nearly equal, nearly nothing is a deviation: a worker that fails one
request in a hundred beside four that fail none would be ejected. So an outlier is also `LEAST_GAP` below the mean.

Latency: those whose mean time to first byte of streamed answers is above `latency_factor` times the median worker's,
and above it by `latency_floor` at least, so that tiny differences eject nobody. The median, because a mean would move
with the outlier. A slow first byte may be the worker's fault (a throttled GPU, a bad link), but more often it is load:
a queue, long prompts, a prefix cache that others do not have. Ejecting for load would give it to the others, which then
are slow in turn, and policies that go by load send a slow worker less in any case. So this is off by default (a factor
of 0), and worth it where requests are alike and the policy is blind to load.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, median, pstdev
from typing import Literal, NamedTuple

from shared.config import StartConfig

Cause = Literal["success-rate", "latency"]

LEAST_GAP = 0.1
"""Of 50 requests six failures more than the others' mean: by chance alone, at 1 % failures, once in 10^5 intervals."""


class OutlierRules(NamedTuple):
    """The operator's numbers (`--ejection-*`); times in seconds. `interval` is 0 when ejection is switched off."""

    interval: float = 30.0
    base_time: float = 30.0
    max_time: float = 300.0
    minimum_workers: int = 5
    request_volume: int = 50
    stdev_factor: float = 1.9
    latency_factor: float = 0.0
    latency_floor: float = 1.0
    max_percent: int = 50

    @classmethod
    def of(cls, config: StartConfig) -> OutlierRules:
        """Return the rules that a configuration asks for."""
        return cls(
            interval=0.0 if config.disable_ejection else config.ejection_interval_secs,
            base_time=config.ejection_base_time_secs,
            max_time=config.ejection_max_time_secs,
            minimum_workers=config.ejection_min_workers,
            request_volume=config.ejection_request_volume,
            stdev_factor=config.ejection_stdev_factor,
            latency_factor=config.ejection_latency_factor,
            latency_floor=config.ejection_latency_floor_ms / 1000,
            max_percent=config.max_ejection_percent,
        )


class Sample(NamedTuple):
    """What one worker did in an interval; see `shared.messages.WorkerOutcomes`."""

    worker: str
    succeeded: int = 0
    failed: int = 0
    streams: int = 0
    first_byte_seconds: float = 0.0


class Outlier(NamedTuple):
    """A worker that should be ejected; `excess` is how far it is out, to compare those of one cause."""

    worker: str
    cause: Cause
    reason: str
    excess: float


def outliers(pool: Sequence[Sample], rules: OutlierRules) -> tuple[Outlier, ...]:
    """Return the outliers among workers that do the same work; failing ones first, then slow ones, the worst first."""
    failing = _failing(pool, rules)
    found = {one.worker for one in failing}
    return (*failing, *(one for one in _slow(pool, rules) if one.worker not in found))


def _failing(pool: Sequence[Sample], rules: OutlierRules) -> list[Outlier]:
    counts = {one.worker: one.succeeded + one.failed for one in pool}
    rates = {one.worker: one.succeeded / counts[one.worker] for one in pool if _is_enough(counts[one.worker], rules)}
    if len(rates) < rules.minimum_workers:
        return []
    mean = fmean(rates.values())
    limit = mean - max(rules.stdev_factor * pstdev(rates.values()), LEAST_GAP)
    return _worst_first(
        Outlier(worker, "success-rate", f"{rate:.0%} of its requests succeed, of its pool's {mean:.0%}", mean - rate)
        for worker, rate in rates.items()
        if rate < limit
    )


def _slow(pool: Sequence[Sample], rules: OutlierRules) -> list[Outlier]:
    times = {one.worker: one.first_byte_seconds / one.streams for one in pool if _is_enough(one.streams, rules)}
    if not rules.latency_factor or len(times) < rules.minimum_workers:
        return []
    middle = median(times.values())
    limit = max(middle * rules.latency_factor, middle + rules.latency_floor)
    return _worst_first(
        Outlier(worker, "latency", f"first byte after {time:.2g} s, its pool's after {middle:.2g} s", time - middle)
        for worker, time in times.items()
        if time > limit
    )


def _is_enough(requests: int, rules: OutlierRules) -> bool:
    return requests >= max(1, rules.request_volume)


def _worst_first(found: Iterable[Outlier]) -> list[Outlier]:
    return sorted(found, key=lambda one: one.excess, reverse=True)
