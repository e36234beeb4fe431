"""The router's own metrics: the planes' counters summed, and what the control plane knows, at the time of a scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple, get_args

from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from controlplane.admission.lender import Lender
from controlplane.admission.metrics import limit_metrics
from controlplane.compat_metrics import compat_metrics
from controlplane.discovery.discovery import Discovery
from controlplane.discovery.metrics import discovery_metrics
from controlplane.kubernetes.metrics import kubernetes_metrics
from controlplane.kv_events.index import KvIndex
from controlplane.kv_events.metrics import kv_metrics
from controlplane.loads import Loads
from controlplane.metric_names import PREFIX
from controlplane.metric_rows import MetricRows, Row, counters
from controlplane.outliers import Cause
from controlplane.plane_metrics import plane_metrics
from controlplane.planes import Planes
from controlplane.publication import Publication
from controlplane.remote_tally import Tally
from controlplane.totals import HistogramTotal, Labels, Totals
from controlplane.worker_metrics import WorkerFacts, worker_metrics
from shared import catalog, plane_report
from shared.clock import Clock
from shared.table import BreakerState, RoutingTable, WorkerState
from shared.version import __version__

_BOUNDS = {metric.name: (*map(str, metric.buckets), "+Inf") for metric in catalog.HISTOGRAMS}


class Refused(NamedTuple):
    """Whether a file on disk can not be used, so that what it held before is in use."""

    configuration: bool = False
    client_keys: bool = False


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
        lender: Lender | None = None,
        *,
        refused: Callable[[], Refused] = Refused,
        is_supervised: Callable[[], bool] = lambda: True,
        compat: bool = False,
    ) -> None:
        """`transitions` counts changes of breakers, by worker and new state; `ejections`, by worker and cause.

        `remote` counts who came from other hosts. `refused` tells of files, `is_supervised` whether the
        supervisor lives. `compat` adds vllm-router's names.
        """
        self._publication = publication
        self._planes = planes
        self._facts = WorkerFacts(planes, loads, transitions, ejections)
        self._clock = clock
        self._remote = remote
        self._kv = kv
        self._discovery = discovery
        self._lender = lender
        self._refused = refused
        self._is_supervised = is_supervised
        self._compat = compat

    def collect(self) -> Iterator[Metric]:
        """Yield every family with its present values."""
        table = self._publication.table
        yield InfoMetricFamily(PREFIX + "build", "The router's version.", value={"version": __version__})
        if self._planes.is_complete(self._clock.monotonic()):
            totals = self._planes.totals()
            yield _gauge("active_requests", "Client requests taken in and not ended.", totals.active)
            yield from _counters(totals, table)
            yield from _histograms(totals, table)
            if self._compat:
                yield from compat_metrics(totals, table, self._facts)
        yield from _table_gauges(table)
        yield from _file_gauges(self._refused())
        yield _gauge(
            "supervisor_up",
            "1 while the supervisor lives; without it nothing restarts what dies.",
            self._is_supervised(),
        )
        now = self._clock.monotonic()
        yield from plane_metrics(self._planes, now)
        yield from worker_metrics(table, self._facts, now)
        if self._remote is not None:
            yield _remote_connections(self._remote)
        if self._kv is not None and self._kv.events is not None:
            yield from kv_metrics(self._kv.events)
        if self._discovery is not None and self._discovery.service is not None:
            yield from discovery_metrics(self._discovery.service, self._clock.monotonic())
        if self._discovery is not None and self._discovery.kubernetes is not None:
            yield from kubernetes_metrics(self._discovery.kubernetes)
        if self._lender is not None:
            yield from limit_metrics(self._lender, self._clock.monotonic())


def _counters(totals: Totals, table: RoutingTable) -> Iterator[Metric]:
    for metric in catalog.COUNTERS:
        about = metric.labels.index("worker") if "worker" in metric.labels else None
        always = metric.always if metric.labels else ((),)
        values = {**dict.fromkeys(always, 0.0), **totals.counters.get(metric.name, {})}
        if about is not None:
            values = {labels: value for labels, value in values.items() if labels[about] in table.workers}
        yield counters(PREFIX + metric.name, metric.help, metric.labels, values.items())


def _histograms(totals: Totals, table: RoutingTable) -> Iterator[Metric]:
    for metric in catalog.HISTOGRAMS:
        family = totals.histograms.get(metric.name, {})
        if "worker" not in metric.labels:
            exemplars = {key[1:]: one for key, one in totals.exemplars.items() if key[0] == metric.name}
            yield _histogram(metric, family, exemplars)
        else:
            yield _summary(metric, family, table)


def _histogram(
    metric: catalog.Metric,
    family: Mapping[Labels, HistogramTotal],
    exemplars: Mapping[tuple[Labels, int], plane_report.Exemplar],
) -> Metric:
    found = HistogramMetricFamily(PREFIX + metric.name, metric.help, labels=metric.labels)
    for labels, total in family.items():
        counts = zip(_BOUNDS[metric.name], accumulate(total.counts), strict=True)
        if not exemplars:
            found.add_metric(labels, list(counts), total.sum)
            continue
        shown = [
            (bound, count, _shown(exemplars[labels, place])) if (labels, place) in exemplars else (bound, count)
            for place, (bound, count) in enumerate(counts)
        ]
        found.add_metric(labels, shown, total.sum)
    return found


def _shown(exemplar: plane_report.Exemplar) -> Exemplar:
    return Exemplar({"trace_id": exemplar.trace}, exemplar.value, exemplar.at)


def _summary(metric: catalog.Metric, family: Mapping[Labels, HistogramTotal], table: RoutingTable) -> Metric:
    """Return a family of counts and sums, which are all about workers."""
    rows: list[Row] = []
    for labels, total in family.items():
        if labels[0] in table.workers:
            rows += (("_count", labels, sum(total.counts)), ("_sum", labels, total.sum))
    return MetricRows("summary", PREFIX + metric.name, metric.help, metric.labels, rows)


def _table_gauges(table: RoutingTable) -> Iterator[Metric]:
    yield _gauge("table_version", "Version of the table that is published.", table.stamp.version)
    yield _gauge(
        "table_epoch", "The publisher's life; a restart of the control plane begins a new one.", table.stamp.epoch
    )
    states = _family("workers", "Workers by state.", "state")
    for state in get_args(WorkerState):
        states.add_metric((state,), sum(worker.state == state for worker in table.workers.values()))
    yield states


def _file_gauges(refused: Refused) -> Iterator[Metric]:
    yield _gauge(
        "config_refused",
        "1 while the configuration file can not be read or is refused, and what it held before is in use.",
        refused.configuration,
    )
    yield _gauge(
        "client_keys_refused",
        "1 while the file of clients' keys can not be used, and the keys that it held before are in use.",
        refused.client_keys,
    )


def _remote_connections(tally: Tally) -> Metric:
    family = CounterMetricFamily(
        PREFIX + "remote_connections",
        "Connections to the ports for planes on other hosts: let in, refused for their key, or for having none.",
        labels=("result",),
    )
    for result, count in tally.results.items():
        family.add_metric((result,), count)
    return family


def _family(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, labels=labels)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, value=value)
