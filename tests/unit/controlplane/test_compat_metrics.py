"""vllm-router's names show the router's own figures."""

from __future__ import annotations

from controlplane.compat_metrics import compat_metrics
from controlplane.loads import Loads
from controlplane.planes import Planes
from controlplane.totals import HistogramTotal, Totals
from controlplane.worker_metrics import WorkerFacts
from shared import catalog
from shared.table import Breaker, Worker, make_table

CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"


def histogram(count: int, seconds: float) -> HistogramTotal:
    return HistogramTotal([0, count, *[0] * (len(catalog.LATENCY.buckets) - 1)], seconds)


TOTALS = Totals(
    counters={
        "requests": {
            (CHAT, "POST", "m", "200", ""): 5.0,
            (CHAT, "POST", "n", "200", ""): 2.0,
            (CHAT, "POST", "m", "503", "no_worker_available"): 3.0,
            (CHAT, "POST", "m", "none", "client_left"): 9.0,
            (EMBEDDINGS, "POST", "m", "200", ""): 4.0,
            (EMBEDDINGS, "POST", "m", "502", "bad_worker_answer"): 1.0,
        },
        "retries": {("connect-failed",): 2.0, ("status-503",): 1.0},
        "retries_denied": {("attempts",): 1.0, ("budget",): 2.0},
        "policy_decisions": {("cache_aware", "prefix_hit"): 6.0, ("cache_aware", "prefix_miss"): 2.0},
        "worker_requests": {("p",): 7.0, ("left",): 1.0},
        "worker_failures": {("p", "stalled"): 1.0, ("p", "connect-failed"): 1.0},
        "disaggregated_requests": {("two-workers",): 3.0, ("one-worker",): 8.0},
    },
    histograms={
        "request_duration_seconds": {(CHAT, "m"): histogram(5, 1.0), (CHAT, "n"): histogram(2, 0.5)},
        "worker_request_duration_seconds": {("p",): HistogramTotal([4], 2.0)},
    },
)
WORKERS = [
    Worker(id="p", url="http://p", role="prefill", state="ready", breaker=Breaker(state="open")),
    Worker(id="d", url="http://d", role="decode"),
]


def values() -> dict[str, dict[tuple[str, ...], float]]:
    facts = WorkerFacts(Planes(), Loads(), {("p", "half-open"): 2}, {})
    table = make_table(epoch=1, version=1, workers=WORKERS)
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in compat_metrics(TOTALS, table, facts):
        for sample in family.samples:
            found.setdefault(sample.name.removeprefix("vllm_router_"), {})[tuple(sample.labels.values())] = sample.value
    return found


def test_requests_and_errors() -> None:
    found = values()
    assert found["requests_total"] == {(CHAT,): 7.0, (EMBEDDINGS,): 4.0}
    assert found["request_errors_total"] == {
        (CHAT, "no_worker_available"): 3.0,
        (EMBEDDINGS, "bad_worker_answer"): 1.0,
    }
    assert found["embeddings_total"] == {(): 4.0}
    assert found["embeddings_errors_total"] == {("bad_worker_answer",): 1.0}
    assert found["retries_total"] == found["retries_exhausted_total"] == {(): 3.0}
    assert found["request_duration_seconds_count"] == {(CHAT,): 7.0}
    assert found["generate_duration_seconds_sum"] == {(): 1.5}


def test_workers_and_choices() -> None:
    found = values()
    assert found["active_workers"] == {(): 1.0}
    assert found["cb_state"] == {("p",): 1.0, ("d",): 0.0}
    assert found["cb_state_transitions_total"][("p", "half_open")] == 2.0
    assert found["cb_outcomes_total"][("p", "failure")] == 2.0
    assert found["cb_outcomes_total"][("p", "success")] == 4.0
    assert found["processed_requests_total"] == {("p",): 7.0}
    assert found["policy_decisions_total"] == {("cache_aware",): 8.0}
    assert (found["cache_hits_total"], found["cache_misses_total"]) == ({(): 6.0}, {(): 2.0})


def test_disaggregated_requests() -> None:
    found = values()
    assert found["pd_requests_total"] == {(): 3.0}
    assert found["pd_prefill_requests_total"] == {("p",): 7.0}
    assert found["pd_prefill_errors_total"] == {("p",): 2.0}
    assert found["pd_decode_requests_total"] == {("d",): 0.0}
