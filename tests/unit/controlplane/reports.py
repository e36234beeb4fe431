"""Planes and their reports, as tests need them."""

from __future__ import annotations

from shared import catalog
from shared.plane_identity import PlaneIdentity
from shared.plane_report import (
    CounterReport,
    CounterSeries,
    Exemplar,
    HistogramSeries,
    PairReport,
    PolicyLack,
    WorkerOutcomes,
)
from shared.table import Stamp

STAMP = Stamp(1, 3, 77)
BUCKETS = len(catalog.LATENCY_BUCKETS) + 1


def identity(name: str = "p", *, slot: int = 0, started: float = 0.0) -> PlaneIdentity:
    return PlaneIdentity(id=name, slot=slot, pid=10 + slot, version="0.1.0", started=started)


def report(
    plane: PlaneIdentity,
    *,
    finished: int = 0,
    active: int = 0,
    worker_requests: dict[str, int] | None = None,
    inflight: dict[str, int] | None = None,
    extra: tuple[CounterSeries, ...] = (),
    stale: bool = False,
    waits_for: str = "",
    outcomes: dict[str, WorkerOutcomes] | None = None,
    lacks: tuple[PolicyLack, ...] = (),
    pairs: PairReport | None = None,
    exemplars: tuple[Exemplar, ...] = (),
) -> CounterReport:
    """A report in which accepted = finished + active, and each finished request took 1.5 s."""
    counts = [0] * BUCKETS
    counts[catalog.LATENCY_BUCKETS.index(2.5)] = finished
    return CounterReport(
        plane=plane,
        seq=1,
        active=active,
        table=STAMP,
        table_age=0.5,
        stale=stale,
        draining=False,
        waits_for=waits_for,
        resyncs=2,
        inflight=inflight or {},
        outcomes=outcomes or {},
        lacks=lacks,
        pairs=pairs,
        exemplars=exemplars,
        client_connections=12,
        client_connection_limit=400,
        worker_connections=7,
        kv_blocks=5,
        kv_resyncs=0,
        load_age=0.25,
        retry_budget=90.0,
        counters=(
            CounterSeries("accepted_requests", (), finished + active),
            CounterSeries("finished_requests", (), finished),
            *(CounterSeries("worker_requests", (key,), count) for key, count in (worker_requests or {}).items()),
            *extra,
        ),
        histograms=(HistogramSeries("request_duration_seconds", ("/v1/models", "m"), tuple(counts), finished * 1.5),),
    )
