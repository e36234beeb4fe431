"""The router's own metrics: the planes' counters summed, and what the control plane knows, at the time of a scrape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import get_args

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from controlplane.discovery.discovery import Discovery
from controlplane.discovery.metrics import discovery_metrics
from controlplane.kv_events.index import KvIndex
from controlplane.kv_events.metrics import kv_metrics
from controlplane.loads import Loads
from controlplane.outliers import Cause
from controlplane.planes import Planes
from controlplane.publication import Publication
from controlplane.remote_tally import Tally
from controlplane.totals import Totals
from shared import catalog
from shared.clock import Clock
from shared.table import BreakerState, RoutingTable, WorkerState
from shared.version import __version__

_PREFIX = "routerctl_"
_BREAKER_STATES = get_args(BreakerState)
_BOUNDS = (*map(str, catalog.LATENCY_BUCKETS), "+Inf")


class RouterCollector(Collector):
    """Gives prometheus-client every family. Series of workers that are not in the table are left out.

    So are the planes' counters until all planes have told theirs: a sum that falls counts as a restart from zero,
    and all of it as new, while one that is missing for a second is only missing.
    """

    def __init__(
        self,
        publication: Publication,
        planes: Planes,
        loads: Loads,
        clock: Clock,
        transitions: Mapping[tuple[str, BreakerState], int],
        ejections: Mapping[tuple[str, Cause], int],
        remote: Tally | None = None,
        kv: KvIndex | None = None,
        discovery: Discovery | None = None,
    ) -> None:
        """`transitions` counts changes of breakers, by worker and new state; `ejections`, by worker and cause.

        `remote` counts who came from other hosts.
        """
        self._publication = publication
        self._planes = planes
        self._loads = loads
        self._clock = clock
        self._transitions = transitions
        self._ejections = ejections
        self._remote = remote
        self._kv = kv
        self._discovery = discovery

    def collect(self) -> Iterator[Metric]:
        """Yield every family with its present values."""
        table = self._publication.table
        yield InfoMetricFamily(_PREFIX + "build", "The router's version.", value={"version": __version__})
        if self._planes.is_complete(self._clock.monotonic()):
            totals = self._planes.totals()
            yield _gauge("active_requests", "Client requests taken in and not ended.", totals.active)
            yield from _counters(totals, table)
            yield from _histograms(totals)
        yield from _table_gauges(table)
        yield from self._plane_gauges()
        yield from self._worker_gauges(table)
        if self._remote is not None:
            yield _remote_connections(self._remote)
        if self._kv is not None and self._kv.events is not None:
            yield from kv_metrics(self._kv.events)
        if self._discovery is not None and self._discovery.service is not None:
            yield from discovery_metrics(self._discovery.service, self._clock.monotonic())

    def _plane_gauges(self) -> Iterator[Metric]:
        now = self._clock.monotonic()
        # Of several planes in one place (one replaces the other) the newest is last.
        planes = {plane.identity.label: plane for plane in self._planes.present()}
        version = _family("plane_table_version", "Version of the table that a plane serves from.", "plane")
        age = _family("plane_table_age_seconds", "How long ago a plane knew its table to be current.", "plane")
        stale = _family("plane_stale", "1 when a plane has lost touch with the control plane.", "plane")
        heard = _family("plane_report_age_seconds", "How long ago a plane's last figures came.", "plane")
        clients = _family("plane_client_connections", "Clients connected to a plane, idle ones included.", "plane")
        most = _family("plane_client_connection_limit", "Most clients that a plane takes; others wait.", "plane")
        workers = _family("plane_worker_connections", "Connections of a plane to workers, idle ones included.", "plane")
        resyncs = CounterMetricFamily(
            _PREFIX + "plane_resyncs", "Times a plane had to ask for the whole table.", labels=("plane",)
        )
        kv_blocks = _family("plane_kv_blocks", "KV blocks in a plane's copy of the index.", "plane")
        kv_resyncs = CounterMetricFamily(
            _PREFIX + "plane_kv_resyncs", "Times a plane had to ask for all that an engine holds.", labels=("plane",)
        )
        for place, plane in planes.items():
            report = plane.report
            if report is None:
                continue
            silence = now - plane.reported
            version.add_metric((place,), report.table.version if report.table is not None else 0)
            age.add_metric((place,), report.table_age + silence)
            stale.add_metric((place,), report.stale)
            heard.add_metric((place,), silence)
            clients.add_metric((place,), report.client_connections)
            most.add_metric((place,), report.client_connection_limit)
            workers.add_metric((place,), report.worker_connections)
            resyncs.add_metric((place,), report.resyncs)
            kv_blocks.add_metric((place,), report.kv_blocks)
            kv_resyncs.add_metric((place,), report.kv_resyncs)
        yield from (version, age, stale, heard, clients, most, workers, resyncs, kv_blocks, kv_resyncs)

    def _worker_gauges(self, table: RoutingTable) -> Iterator[Metric]:
        inflight_counts = self._planes.inflight_by_worker()
        up = _family("worker_up", "1 when a worker is ready.", "worker")
        inflight = _family("worker_inflight", "Requests sent to a worker and not ended.", "worker")
        breaker = _family("worker_breaker", "A worker's breaker: 0 closed, 1 half-open, 2 open.", "worker")
        transitions = CounterMetricFamily(
            _PREFIX + "worker_breaker_transitions", "Times a worker's breaker came to a state.", labels=("worker", "to")
        )
        ejections = CounterMetricFamily(
            _PREFIX + "worker_ejections", "Times a worker was ejected as an outlier.", labels=("worker", "cause")
        )
        for worker in table.workers.values():
            for cause in get_args(Cause):
                ejections.add_metric((worker.id, cause), self._ejections.get((worker.id, cause), 0))
            up.add_metric((worker.id,), worker.state == "ready")
            inflight.add_metric((worker.id,), inflight_counts.get(worker.id, 0))
            state = worker.breaker.state if worker.breaker is not None else "closed"
            breaker.add_metric((worker.id,), _BREAKER_STATES.index(state))
            for name in _BREAKER_STATES:
                transitions.add_metric((worker.id, name), self._transitions.get((worker.id, name), 0))
        running = _family("engine_running", "Requests that a worker's engine runs, as it says.", "worker")
        waiting = _family("engine_waiting", "Requests that wait in a worker's engine, as it says.", "worker")
        usage = _family("engine_kv_usage", "Part of a worker's KV cache in use (0 to 1), as it says.", "worker")
        age = _family("engine_age_seconds", "Age of the figures of a worker's engine.", "worker")
        for key, load in self._loads.report(table.workers, now=self._clock.monotonic()).items():
            running.add_metric((key,), load.running)
            waiting.add_metric((key,), load.waiting)
            usage.add_metric((key,), load.kv_usage)
            age.add_metric((key,), load.age)
        yield from (up, inflight, breaker, transitions, ejections, running, waiting, usage, age)


def _counters(totals: Totals, table: RoutingTable) -> Iterator[Metric]:
    for metric in catalog.COUNTERS:
        family = CounterMetricFamily(_PREFIX + metric.name, metric.help, labels=metric.labels)
        about = metric.labels.index("worker") if "worker" in metric.labels else None
        always = metric.always if metric.labels else ((),)
        values = {**dict.fromkeys(always, 0.0), **totals.counters.get(metric.name, {})}
        for labels, value in values.items():
            if about is None or labels[about] in table.workers:
                family.add_metric(labels, value)
        yield family


def _histograms(totals: Totals) -> Iterator[Metric]:
    for metric in catalog.HISTOGRAMS:
        family = HistogramMetricFamily(_PREFIX + metric.name, metric.help, labels=metric.labels)
        for labels, total in totals.histograms.get(metric.name, {}).items():
            family.add_metric(labels, list(zip(_BOUNDS, accumulate(total.counts), strict=True)), total.sum)
        yield family


def _table_gauges(table: RoutingTable) -> Iterator[Metric]:
    yield _gauge("table_version", "Version of the table that is published.", table.stamp.version)
    yield _gauge(
        "table_epoch", "The publisher's life; a restart of the control plane begins a new one.", table.stamp.epoch
    )
    states = _family("workers", "Workers by state.", "state")
    for state in get_args(WorkerState):
        states.add_metric((state,), sum(worker.state == state for worker in table.workers.values()))
    yield states


def _remote_connections(tally: Tally) -> Metric:
    family = CounterMetricFamily(
        _PREFIX + "remote_connections",
        "Connections to the ports for planes on other hosts: let in, refused for their key, or for having none.",
        labels=("result",),
    )
    for result, count in tally.results.items():
        family.add_metric((result,), count)
    return family


def _family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, text, labels=labels)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, text, value=value)
