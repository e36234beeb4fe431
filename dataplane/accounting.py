"""What a plane counts, as plain numbers: adding is cheap, and the control plane sums over planes.

Every request is accounted once, by `finish`, `reject` or `abort`, so accepted = finished + aborted + rejected +
active holds whenever the figures are read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Literal

from shared import catalog
from shared.errors import RouterError, Side
from shared.plane_report import CounterSeries, HistogramSeries

AbortedBy = Literal["client", "worker", "timeout", "shutdown"]


# A client that leaves is no failure.
_CUT_OFF: dict[AbortedBy, tuple[Side, str]] = {
    "worker": ("worker", "truncated"),
    "timeout": ("worker", "worker_timeout"),
    "shutdown": ("router", "shutdown"),
}


class Histogram:
    """Observations in seconds, by the buckets of `shared.catalog`."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(catalog.LATENCY_BUCKETS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Add one."""
        self.counts[bisect_left(catalog.LATENCY_BUCKETS, seconds)] += 1
        self.sum += seconds


class Accounting:
    """All figures of one plane since it started."""

    def __init__(self) -> None:
        self.accepted = 0
        self.finished = 0
        self.active = 0
        self.aborted: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.errors: Counter[tuple[Side, str]] = Counter()
        self.retries: Counter[str] = Counter()
        self.spliced: Counter[str] = Counter()
        self.policy_outcomes: Counter[tuple[str, str, str, str]] = Counter()
        self.disaggregated: Counter[str] = Counter()
        self.pair_breakers: Counter[str] = Counter()
        self.worker_requests: Counter[str] = Counter()
        self.connections_opened: Counter[str] = Counter()
        self.latency: dict[str, Histogram] = {}
        self.first_byte: dict[str, Histogram] = {}

    def accept(self) -> None:
        """Take a request in. Exactly one of the three that follow must end it."""
        self.accepted += 1
        self.active += 1

    def finish(self, route: str, method: str, status: int, duration: float, first_byte: float) -> None:
        """End a request that got a worker's whole answer; times in seconds since its arrival."""
        self.active -= 1
        self.finished += 1
        self.requests[(route, catalog.method_label(method), status)] += 1
        self._histogram(self.latency, route).observe(duration)
        self._histogram(self.first_byte, route).observe(first_byte)

    def reject(self, route: str, method: str, error: RouterError) -> None:
        """End a request that the router itself answered with an error."""
        self.active -= 1
        self.rejected[error.code] += 1
        self.requests[(route, catalog.method_label(method), error.status)] += 1
        self.errors[(error.blamed, error.code)] += 1

    def abort(self, by: AbortedBy) -> None:
        """End a request whose client got no whole answer."""
        self.active -= 1
        self.aborted[by] += 1
        if by != "client":
            self.errors[_CUT_OFF[by]] += 1

    @staticmethod
    def _histogram(family: dict[str, Histogram], route: str) -> Histogram:
        histogram = family.get(route)
        if histogram is None:
            histogram = family[route] = Histogram()
        return histogram

    def forget_workers(self, known: set[str]) -> None:
        """Drop the series of workers that left the table, so that they do not grow for ever."""
        for family in (self.worker_requests, self.connections_opened):
            for worker in [worker for worker in family if worker not in known]:
                del family[worker]

    def counter_series(self) -> tuple[CounterSeries, ...]:
        """All counters, in the shape of the wire."""
        series = [
            CounterSeries(catalog.ACCEPTED.name, (), self.accepted),
            CounterSeries(catalog.FINISHED.name, (), self.finished),
        ]
        for metric, family in (
            (catalog.ABORTED, self.aborted),
            (catalog.REJECTED, self.rejected),
            (catalog.RETRIES, self.retries),
            (catalog.SPLICED, self.spliced),
            (catalog.DISAGGREGATED, self.disaggregated),
            (catalog.PAIR_BREAKERS, self.pair_breakers),
            (catalog.WORKER_REQUESTS, self.worker_requests),
            (catalog.CONNECTIONS_OPENED, self.connections_opened),
        ):
            series.extend(CounterSeries(metric.name, (label,), value) for label, value in family.items())
        series.extend(
            CounterSeries(catalog.REQUESTS.name, (route, method, str(status)), value)
            for (route, method, status), value in self.requests.items()
        )
        series.extend(
            CounterSeries(catalog.POLICY_OUTCOMES.name, labels, value) for labels, value in self.policy_outcomes.items()
        )
        series.extend(CounterSeries(catalog.ERRORS.name, labels, value) for labels, value in self.errors.items())
        return tuple(series)

    def histogram_series(self) -> tuple[HistogramSeries, ...]:
        """All histograms, in the shape of the wire."""
        return tuple(
            HistogramSeries(metric.name, (route,), tuple(histogram.counts), histogram.sum)
            for metric, family in ((catalog.LATENCY, self.latency), (catalog.FIRST_BYTE, self.first_byte))
            for route, histogram in family.items()
        )
