"""What is known of each worker, as metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from prometheus_client.core import Metric

from controlplane.loads import Loads
from controlplane.metric_names import PREFIX
from controlplane.metric_rows import counters, gauges
from controlplane.outliers import Cause
from controlplane.planes import Planes
from shared.table import BreakerState, RoutingTable

BREAKER_STATES: tuple[BreakerState, ...] = get_args(BreakerState)
_CAUSES: tuple[Cause, ...] = get_args(Cause)


@dataclass(frozen=True)
class WorkerFacts:
    """What the control plane knows of the workers beside the table.

    `transitions` counts changes of breakers, by worker and new state; `ejections`, by worker and cause.
    """

    planes: Planes
    loads: Loads
    transitions: Mapping[tuple[str, BreakerState], int]
    ejections: Mapping[tuple[str, Cause], int]


def breaker_of(table: RoutingTable, worker: str) -> BreakerState:
    """Return the state of a worker's breaker."""
    breaker = table.workers[worker].breaker
    return breaker.state if breaker is not None else "closed"


def worker_metrics(table: RoutingTable, facts: WorkerFacts, now: float) -> Iterator[Metric]:
    """Yield the families one after the other, of the table's workers; `now` is in monotonic seconds."""
    workers = table.workers
    inflight = facts.planes.inflight_by_worker()
    yield _gauge(
        "worker_up",
        "1 when a worker is ready, by its checks: its breaker is told apart.",
        {key: one.state == "ready" for key, one in workers.items()},
    )
    ejected = {key: one.state == "ejected" for key, one in workers.items()}
    yield _gauge("worker_ejected", "1 while a worker is out as an outlier.", ejected)
    sent = {key: inflight.get(key, 0) for key in workers}
    yield _gauge("worker_inflight", "Requests sent to a worker and not ended.", sent)
    breakers = {key: BREAKER_STATES.index(breaker_of(table, key)) for key in workers}
    yield _gauge("worker_breaker", "A worker's breaker: 0 closed, 1 half-open, 2 open.", breakers)
    yield counters(
        PREFIX + "worker_breaker_transitions",
        "Times a worker's breaker came to a state.",
        ("worker", "to"),
        [((key, state), facts.transitions.get((key, state), 0)) for key in workers for state in BREAKER_STATES],
    )
    yield counters(
        PREFIX + "worker_ejections",
        "Times a worker was ejected as an outlier.",
        ("worker", "cause"),
        [((key, cause), facts.ejections.get((key, cause), 0)) for key in workers for cause in _CAUSES],
    )
    loads = facts.loads.report(workers, now=now)
    running = {key: load.running for key, load in loads.items()}
    yield _gauge("engine_running", "Requests that a worker's engine runs, as it says.", running)
    waiting = {key: load.waiting for key, load in loads.items()}
    yield _gauge("engine_waiting", "Requests that wait in a worker's engine, as it says.", waiting)
    usage = {key: load.kv_usage for key, load in loads.items()}
    yield _gauge("engine_kv_usage", "Part of a worker's KV cache in use (0 to 1), as it says.", usage)
    ages = {key: load.age for key, load in loads.items()}
    yield _gauge("engine_age_seconds", "Age of the figures of a worker's engine.", ages)


def _gauge(name: str, text: str, values: Mapping[str, float]) -> Metric:
    return gauges(PREFIX + name, text, ("worker",), [((worker,), value) for worker, value in values.items()])
