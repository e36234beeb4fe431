"""vllm-router's metric names, for dashboards and alerts that were made for it (`--metrics-compat`).

Each is one of the router's own figures under another name; docs/metrics.md has both. Labels that the router does not
count by are left out, which sums over labels do not notice. What vllm-router never gives out, or what has no
counterpart here, is not made up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from controlplane.totals import HistogramTotal, Labels, Totals
from controlplane.worker_metrics import WorkerFacts, breaker_of
from shared import catalog
from shared.routes import ROUTES
from shared.table import BreakerState, RoutingTable

_PREFIX = "vllm_router_"
_CB_STATES: dict[BreakerState, int] = {"closed": 0, "open": 1, "half-open": 2}
_BOUNDS = (*map(str, catalog.LATENCY.buckets), "+Inf")
_GENERATE = frozenset(route.path for route in ROUTES if route.generates)
_EMBEDDINGS = "/v1/embeddings"
_NO_FAILURE = ("", "client_left")


def compat_metrics(totals: Totals, table: RoutingTable, facts: WorkerFacts) -> Iterator[Metric]:
    """Yield the families."""
    counters = _Counters(totals)
    yield _counter("requests", "Answered requests.", ("route",), counters.sums(catalog.REQUESTS, _answered))
    errors = counters.sums(catalog.REQUESTS, _failed)
    yield _counter("request_errors", "Requests without a whole answer.", ("route", "error_type"), errors)
    latency = totals.histograms.get(catalog.LATENCY.name, {})
    yield _durations("request_duration_seconds", "Duration of requests.", ("route",), latency, lambda route: (route,))
    generate = {key: total for key, total in latency.items() if key[0] in _GENERATE}
    yield _durations("generate_duration_seconds", "Duration of generations.", (), generate, lambda _: ())
    yield _counter("retries", "Requests sent again.", (), counters.sums(catalog.RETRIES, lambda _: ()))
    denied = counters.sums(catalog.RETRIES_DENIED, lambda _: ())
    yield _counter("retries_exhausted", "Requests that would have been sent again.", (), denied)
    yield from _embeddings(counters, latency)
    yield from _policies(counters)
    yield from _workers(totals, counters, table, facts)
    yield from _disaggregated(counters, table)


class _Counters:
    """Sums of a family by other labels."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def of(self, metric: catalog.Metric) -> Mapping[Labels, float]:
        return self._totals.counters.get(metric.name, {})

    def sums(self, metric: catalog.Metric, key: Callable[[Labels], Labels | None]) -> dict[Labels, float]:
        """Add up what has the same key; what has None is left out."""
        sums: dict[Labels, float] = defaultdict(float)
        for labels, value in self.of(metric).items():
            if (told := key(labels)) is not None:
                sums[told] += value
        return sums


def _answered(labels: Labels) -> Labels | None:
    route, _, _, _, cause = labels
    return None if cause else (route,)


def _failed(labels: Labels) -> Labels | None:
    route, _, _, _, cause = labels
    return None if cause in _NO_FAILURE else (route, cause)


def _embeddings(counters: _Counters, latency: Mapping[Labels, HistogramTotal]) -> Iterator[Metric]:
    answered = counters.sums(
        catalog.REQUESTS, lambda labels: () if labels[0] == _EMBEDDINGS and not labels[4] else None
    )
    yield _counter("embeddings", "Answered requests for embeddings.", (), answered)
    of_them = {key: total for key, total in latency.items() if key[0] == _EMBEDDINGS}
    yield _durations("embeddings_duration_seconds", "Duration of embeddings.", (), of_them, lambda _: ())
    failed = counters.sums(
        catalog.REQUESTS,
        lambda labels: (labels[4],) if labels[0] == _EMBEDDINGS and labels[4] not in _NO_FAILURE else None,
    )
    yield _counter("embeddings_errors", "Requests for embeddings without a whole answer.", ("error_type",), failed)


def _policies(counters: _Counters) -> Iterator[Metric]:
    decisions = counters.sums(catalog.POLICY_OUTCOMES, lambda labels: labels[:1])
    yield _counter("policy_decisions", "Choices of a worker.", ("policy",), decisions)
    outcomes = counters.sums(catalog.POLICY_OUTCOMES, lambda labels: labels[1:2])
    hits = outcomes.get(("prefix_hit",), 0.0)
    misses = sum(outcomes.get((name,), 0.0) for name in ("prefix_miss", "prefix_too_dear", "imbalanced"))
    yield _counter("cache_hits", "Choices of a worker that has the prompt's beginning.", (), {(): hits})
    yield _counter("cache_misses", "Choices of one that has not.", (), {(): misses})


def _workers(totals: Totals, counters: _Counters, table: RoutingTable, facts: WorkerFacts) -> Iterator[Metric]:
    workers = table.workers
    ready: dict[Labels, float] = {(key,): float(worker.state == "ready") for key, worker in workers.items()}
    yield _gauge("active_workers", "Workers that are ready, by their checks.", (), {(): sum(ready.values())})
    yield _gauge("worker_health", "1 when a worker is ready, by its checks.", ("worker",), ready)
    inflight = facts.planes.inflight_by_worker()
    load: dict[Labels, float] = {(key,): float(inflight.get(key, 0)) for key in workers}
    yield _gauge("worker_load", "Requests sent to a worker and not ended.", ("worker",), load)
    yield _gauge("running_requests", "Requests sent to a worker and not ended.", ("worker",), load)
    sent: dict[Labels, float] = {
        key: value for key, value in counters.of(catalog.WORKER_REQUESTS).items() if key[0] in workers
    }
    yield _counter("processed_requests", "Requests sent to a worker.", ("worker",), sent)
    states: dict[Labels, float] = {(key,): float(_CB_STATES[breaker_of(table, key)]) for key in workers}
    yield _gauge("cb_state", "A worker's breaker: 0 closed, 1 open, 2 half-open.", ("worker",), states)
    changes: dict[Labels, float] = {
        (key, name.replace("-", "_")): float(facts.transitions.get((key, name), 0))
        for key in workers
        for name in _CB_STATES
    }
    yield _counter("cb_state_transitions", "Times that a breaker came to a state.", ("worker", "to"), changes)
    failures = counters.sums(catalog.WORKER_FAILURES, lambda labels: labels[:1])
    answers = totals.histograms.get(catalog.WORKER_DURATION.name, {})
    outcomes: dict[Labels, float] = {(key, "failure"): failures.get((key,), 0.0) for key in workers}
    for key in workers:
        total = answers.get((key,))
        outcomes[key, "success"] = float(total.counts[0]) if total is not None else 0.0
    yield _counter("cb_outcomes", "What became of requests at a worker.", ("worker", "outcome"), outcomes)


def _disaggregated(counters: _Counters, table: RoutingTable) -> Iterator[Metric]:
    pairs = counters.sums(catalog.DISAGGREGATED, lambda labels: None if labels[0] == "one-worker" else ())
    yield _counter("pd_requests", "Requests done by a prefill and a decode worker.", (), pairs)
    failures = counters.sums(catalog.WORKER_FAILURES, lambda labels: labels[:1])
    for role in ("prefill", "decode"):
        ids = [key for key, worker in table.workers.items() if worker.role == role]
        asked: dict[Labels, float] = {(key,): counters.of(catalog.WORKER_REQUESTS).get((key,), 0.0) for key in ids}
        yield _counter(f"pd_{role}_requests", f"Requests sent to a {role} worker.", ("worker",), asked)
        failed: dict[Labels, float] = {(key,): failures.get((key,), 0.0) for key in ids}
        yield _counter(f"pd_{role}_errors", f"Failures of a {role} worker.", ("worker",), failed)


def _counter(name: str, text: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, text, labels=labels)
    for told, value in (values if labels else values or {(): 0.0}).items():
        family.add_metric(told, value)
    return family


def _gauge(name: str, text: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    family = GaugeMetricFamily(_PREFIX + name, text, labels=labels)
    for told, value in values.items():
        family.add_metric(told, value)
    return family


def _durations(
    name: str, text: str, labels: Labels, latency: Mapping[Labels, HistogramTotal], key: Callable[[str], Labels]
) -> Metric:
    """Return a histogram by less than route and model, with the router's own buckets."""
    merged: dict[Labels, HistogramTotal] = {}
    for (route, _), total in latency.items():
        sums = merged.setdefault(key(route), HistogramTotal([0] * len(_BOUNDS), 0.0))
        sums.counts = [a + b for a, b in zip(sums.counts, total.counts, strict=True)]
        sums.sum += total.sum
    family = HistogramMetricFamily(_PREFIX + name, text, labels=labels)
    for told, sums in merged.items():
        family.add_metric(told, list(zip(_BOUNDS, accumulate(sums.counts), strict=True)), sums.sum)
    return family
