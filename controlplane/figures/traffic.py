"""What the router did within the last seconds, of the whole and by worker and plane. Rates are per second."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import islice

import msgspec

from controlplane.figures.quantiles import Quantiles, quantiles
from controlplane.totals import HistogramTotal, Labels, Totals
from shared import catalog

RATE_WINDOW = 10.0
"""Seconds that rates are of: short enough to show what somebody has just done."""
TIME_WINDOW = 60.0
"""Seconds that quantiles are of: a worker that ends a stream a second has just enough of them."""
LEFT = "client_left"
OWN_ANSWER = "the worker's own answer"
"""Stands for the cause where a worker answered so by itself."""
MOST_CAUSES = 3
"""Causes of failures that are told: the greatest ones. One is what breaks as a rule."""


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """What the whole router did.

    `requests` that ended, `failures` of them that got no whole answer or one of 5xx, the most frequent `causes` of
    these, and tokens as `usage` tells them, all per second over the last 10 s; times over the last 60 s. `first_token`
    is of streams. `seconds` is how much of the 10 s is known.
    """

    seconds: float
    requests: float
    failures: float
    prompt_tokens: float
    output_tokens: float
    duration: Quantiles | None
    first_token: Quantiles | None
    causes: dict[str, float] = {}


class WorkerTraffic(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker did: `requests` sent to it and `failures` held against it, per second over the last 10 s.

    `first_byte` is from sending a request to the first part of its answer, where it came in parts, over the last 60 s.
    """

    requests: float
    failures: float
    first_byte: Quantiles | None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The sums at one moment, `at` in monotonic seconds; `planes` has the requests that each took in, by their ids."""

    at: float
    totals: Totals
    planes: dict[str, float] = {}


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """All of it, `workers` and `planes` (requests per second) by their ids. `traffic` is None until it is known.

    `traces_lost` is a count of the last 60 s.
    """

    traffic: Traffic | None = None
    workers: dict[str, WorkerTraffic] = {}
    planes: dict[str, float] = {}
    traces_lost: int = 0


def figures(rate_from: Sample, times_from: Sample, new: Sample) -> Figures:
    """Return what happened from two earlier samples to the newest one."""
    seconds = new.at - rate_from.at
    if seconds <= 0:
        return Figures()
    rates = _Rates(rate_from.totals, new.totals, seconds)
    sent, failed = rates.by_first_label(catalog.WORKER_REQUESTS), rates.by_first_label(catalog.WORKER_FAILURES)
    times = _grown(times_from.totals, new.totals, catalog.WORKER_FIRST_BYTE)
    causes = rates.failures()
    return Figures(
        traffic=Traffic(
            seconds=round(seconds, 3),
            requests=rates.of(catalog.REQUESTS),
            failures=round(sum(causes.values()), 3),
            prompt_tokens=rates.of(catalog.PROMPT_TOKENS),
            output_tokens=rates.of(catalog.OUTPUT_TOKENS),
            duration=_all(_grown(times_from.totals, new.totals, catalog.LATENCY), catalog.LATENCY),
            first_token=_all(_grown(times_from.totals, new.totals, catalog.FIRST_TOKEN), catalog.FIRST_TOKEN),
            causes={cause: round(rate, 3) for cause, rate in islice(causes.items(), MOST_CAUSES)},
        ),
        workers={
            worker: WorkerTraffic(
                requests=rate,
                failures=failed.get(worker, 0.0),
                first_byte=_of(times.get((worker,)), catalog.WORKER_FIRST_BYTE),
            )
            for worker, rate in sent.items()
        },
        planes={
            plane: max(0.0, round((count - rate_from.planes.get(plane, 0.0)) / seconds, 3))
            for plane, count in new.planes.items()
        },
        traces_lost=_traces_lost(times_from.totals, new.totals),
    )


def is_failure(status: str, cause: str) -> bool:
    """Whether a request that ended so is a failure: a client that leaves, or is told of its own mistake, is none."""
    return status.startswith("5") or (cause not in ("", LEFT) and not status.startswith("4"))


def grown(old: float, new: float) -> float:
    """Return how much a sum grew. One that has fallen began anew."""
    return new - old if new >= old else new


class _Rates:
    def __init__(self, old: Totals, new: Totals, seconds: float) -> None:
        self._old, self._new, self._seconds = old.counters, new.counters, seconds

    def _changes(self, metric: catalog.Metric) -> Mapping[Labels, float]:
        old = self._old.get(metric.name, {})
        return {key: grown(old.get(key, 0.0), value) for key, value in self._new.get(metric.name, {}).items()}

    def of(self, metric: catalog.Metric) -> float:
        return round(sum(self._changes(metric).values()) / self._seconds, 3)

    def failures(self) -> dict[str, float]:
        by_cause: defaultdict[str, float] = defaultdict(float)
        for (*_, status, cause), count in self._changes(catalog.REQUESTS).items():
            if count and is_failure(status, cause):
                by_cause[cause or OWN_ANSWER] += count / self._seconds
        return dict(sorted(by_cause.items(), key=lambda one: -one[1]))

    def by_first_label(self, metric: catalog.Metric) -> dict[str, float]:
        sums: dict[str, float] = {}
        for labels, count in self._changes(metric).items():
            sums[labels[0]] = sums.get(labels[0], 0.0) + count
        return {label: round(count / self._seconds, 3) for label, count in sums.items()}


def _traces_lost(old: Totals, new: Totals) -> int:
    before, now = (totals.counters.get(catalog.TRACES.name, {}) for totals in (old, new))
    return int(sum(grown(before.get((what,), 0.0), now.get((what,), 0.0)) for what in ("failed", "dropped")))


def _grown(old: Totals, new: Totals, metric: catalog.Metric) -> dict[Labels, HistogramTotal]:
    before = old.histograms.get(metric.name, {})
    return {key: histogram_grown(before.get(key), total) for key, total in new.histograms.get(metric.name, {}).items()}


def histogram_grown(old: HistogramTotal | None, new: HistogramTotal) -> HistogramTotal:
    """Return the observations that came since. A histogram that has fallen began anew."""
    if old is None or any(now < before for before, now in zip(old.counts, new.counts, strict=True)):
        return new
    counts = [now - before for before, now in zip(old.counts, new.counts, strict=True)]
    return HistogramTotal(counts, new.sum - old.sum)


def _of(total: HistogramTotal | None, metric: catalog.Metric) -> Quantiles | None:
    return None if total is None else quantiles(total.counts, total.sum, metric.buckets)


def _all(family: Mapping[Labels, HistogramTotal], metric: catalog.Metric) -> Quantiles | None:
    counts = [sum(column) for column in zip(*(total.counts for total in family.values()), strict=True)]
    return quantiles(counts, sum(total.sum for total in family.values()), metric.buckets)
