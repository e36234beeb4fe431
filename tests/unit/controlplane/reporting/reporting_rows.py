"""Rows of an hour, as tests of reports need them."""

from __future__ import annotations

from controlplane.events.event import Event
from controlplane.reports.report import make_report
from controlplane.reports.rows import ModelRow, Row, Times, WorkerRow
from controlplane.reports.shapes import Report
from shared import catalog

NOON = 1_795_262_400.0


def times(metric: catalog.Metric, count: int, place: int, mean: float) -> Times:
    counts = [0] * (len(metric.buckets) + 1)
    counts[place] = count
    return Times(counts, count * mean)


def row(number: int, *, failed: float = 0.0, name: str = "m") -> Row:
    """Row `number` of 15 s: 30 requests, 20 of them at worker a."""
    return Row(
        time=NOON + 15.0 * (number + 1),
        seconds=15.0,
        requests=[
            ("/v1/completions", name, "200", "", 30.0),
            ("/v1/completions", name, "200", "client_left", 3.0),
            ("/v1/completions", name, "404", "model_not_found", 2.0),
            ("/v1/completions", name, "400", "", 1.0),
            *([("/v1/completions", name, "502", "workers_unreachable", failed)] if failed else ()),
        ],
        models={
            name: ModelRow(
                duration=times(catalog.LATENCY, 30, 9, 0.9),
                first_token=times(catalog.FIRST_TOKEN, 30, 7, 0.09),
                token_gap=times(catalog.TOKEN_GAP, 300, 4, 0.02),
                prompt_tokens=3000.0,
                output_tokens=330.0,
                cached_tokens=600.0,
                worker_seconds=27.0,
                queue_wait=times(catalog.QUEUE_WAIT, 10, 3, 0.04),
            )
        },
        workers={
            "http://a:8000": WorkerRow("regular", 20.0, failed, 20, 18.0, 20, 1.6),
            "http://b:8000": WorkerRow("regular", 10.0, 0.0, 10, 9.0, 0, 0.0),
        },
        retries={"connect-failed": failed} if failed else {},
        choices=[("cache_aware", "prefix_hit", 20.0), ("cache_aware", "prefix_miss", 10.0)],
        policy_tokens={"cache_aware": (3000.0, 900.0)},
        breakers=[("http://a:8000", "open", 1), ("http://a:8000", "half-open", 1)] if failed else [],
        ejections=[("http://b:8000", "latency", 1)] if failed else [],
        active=number,
        ready=2,
        members=2,
        queued=number,
        limits=[("total", 20.0, 5.0 * (number + 1)), ("model:m", 100.0, 5.0 * (number + 1))],
    )


def events() -> list[Event]:
    text = "breaker of worker http://a:8000 is open: 10 of 12 requests failed"
    return [
        Event(time=NOON + 20.0, level="warning", kind="breaker", text=text, told_by="control plane"),
        Event(time=NOON + 30.0, level="info", kind="process", text="plane 0 serves", told_by="supervisor"),
    ]


def hour() -> Report:
    """Four rows, of which one has failures."""
    rows = [row(0), row(1, failed=6.0), row(2), row(3)]
    return make_report(rows, events(), NOON, NOON + 3600.0)
