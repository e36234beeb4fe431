"""A plane's counters: every request is counted once, and in the shape that `shared.catalog` describes."""

from __future__ import annotations

from bisect import bisect_left
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.accounting import AbortedBy, Accounting
from dataplane.histogram import Histogram
from dataplane.usage import Usage
from shared import catalog
from shared.errors import RouterError, internal, model_not_found, no_worker, unreachable
from shared.plane_report import CounterSeries

CAUSES = get_args(AbortedBy)
ELSEWHERE = (
    *(catalog.TRACES, catalog.PLANE_RESYNCS, catalog.PLANE_KV_RESYNCS, catalog.LOG_LINES_DROPPED),
    catalog.LOOP_LAG,
)
"""What others add to the report."""
ERRORS = (internal(), no_worker("x"), unreachable(2), model_not_found("m", ()))
steps = st.lists(
    st.sampled_from(["accept", "finish", "reject", "abort"]).flatmap(
        lambda kind: st.tuples(st.just(kind), st.integers(0, 3))
    ),
    max_size=60,
)


def value(series: tuple[CounterSeries, ...], metric: catalog.Metric, *labels: str) -> float:
    return sum(one.value for one in series if one.name == metric.name and one.labels[: len(labels)] == labels)


def assert_conserved(accounting: Accounting) -> None:
    series = accounting.counter_series()
    ended = sum(value(series, metric) for metric in (catalog.FINISHED, catalog.ABORTED, catalog.REJECTED))
    assert value(series, catalog.ACCEPTED) == ended + accounting.active
    assert value(series, catalog.REQUESTS) == ended
    finished = value(series, catalog.FINISHED)
    for metric in (catalog.LATENCY, catalog.FIRST_BYTE):
        assert sum(sum(one.counts) for one in accounting.histogram_series() if one.name == metric.name) == finished


@settings(deadline=None)
@given(steps)
def test_every_request_is_counted_exactly_once_at_every_moment(steps: list[tuple[str, int]]) -> None:
    accounting = Accounting()
    for kind, choice in steps:
        if kind == "accept":
            accounting.accept()
        elif not accounting.active:
            continue
        elif kind == "finish":
            accounting.finish(f"/r{choice}", "POST", 200 + choice, float(choice), float(choice) / 2)
        elif kind == "reject":
            accounting.reject(f"/r{choice}", "POST", ERRORS[choice])
        else:
            accounting.abort(CAUSES[choice])
        assert_conserved(accounting)


def full() -> Accounting:
    """Accounting in which every family has something."""
    accounting = Accounting()
    for _ in range(6):
        accounting.accept()
    accounting.finish("/v1/models", "GET", 200, 2.0, 1.0)
    accounting.reject("other", "POST", no_worker("x"))
    for by in CAUSES:
        accounting.abort(by)
    accounting.retries["connect-failed"] += 1
    accounting.spliced["kv_transfer_params"] += 1
    accounting.policy_outcomes[("cache_aware", "prefix_hit", "plain", "")] += 1
    accounting.arm("chat", "m", 200, 0.7)
    accounting.waited("m", 0.2)
    accounting.disaggregated["two-workers"] += 1
    accounting.pair_breakers["open"] += 1
    accounting.worker_requests["w"] += 3
    accounting.connections_opened["w"] += 2
    accounting.worker_failures[("w", "stalled")] += 1
    accounting.retries_denied["budget"] += 1
    accounting.policy_prompt_tokens["cache_aware"] += 100
    accounting.policy_cached_tokens["cache_aware"] += 64
    accounting.used("m", Usage(prompt=10, output=5, cached=4))
    accounting.streamed("m", first_token=0.1, longest_pause=0.3, gap=0.02, gaps=4)
    accounting.connect.observe(0.002)
    accounting.leg("prefill", 0.7)
    accounting.timings_of("w").complete(3.0, 0.5)
    accounting.worker_seconds["m"] += 3.0
    accounting.know_keys(["alice"])
    accounting.used_by_key("alice", 200, Usage(prompt=10, output=5, cached=0))
    return accounting


def test_each_series_has_the_labels_of_its_family() -> None:
    accounting = full()
    counters = {metric.name: metric for metric in catalog.COUNTERS}
    seen = set()
    for one in accounting.counter_series():
        assert len(one.labels) == len(counters[one.name].labels), one
        assert all(isinstance(label, str) for label in one.labels)
        seen.add(one.name)
    assert seen == set(counters) - {one.name for one in ELSEWHERE}
    histograms = {metric.name: metric for metric in catalog.HISTOGRAMS}
    for histogram in accounting.histogram_series():
        assert len(histogram.labels) == len(histograms[histogram.name].labels)
        assert len(histogram.counts) == len(histograms[histogram.name].buckets) + 1
    assert {one.name for one in accounting.histogram_series()} == set(histograms) - {one.name for one in ELSEWHERE}


def test_no_series_is_given_twice() -> None:
    series = [(one.name, one.labels) for one in full().counter_series()]
    assert len(series) == len(set(series))


def test_the_labels_are_in_the_catalogs_order() -> None:
    assert catalog.REQUESTS.labels == ("route", "method", "model", "status", "cause")
    assert catalog.ABORTED.labels == ("by", "phase")
    assert catalog.ERRORS.labels == ("side", "code")
    series = full().counter_series()
    assert value(series, catalog.REQUESTS, "/v1/models", "GET", "", "200", "") == 1
    assert value(series, catalog.REQUESTS, "other", "POST", "", "503", "no_worker_available") == 1
    assert value(series, catalog.REQUESTS, "other", "other", "", "none", "client_left") == 1
    assert value(series, catalog.ERRORS, "worker", "no_worker_available") == 1
    assert value(series, catalog.REJECTED, "no_worker_available") == 1
    assert value(series, catalog.RETRIES, "connect-failed") == 1
    assert value(series, catalog.SPLICED, "kv_transfer_params") == 1
    assert value(series, catalog.WORKER_REQUESTS, "w") == 3
    assert value(series, catalog.CONNECTIONS_OPENED, "w") == 2


@pytest.mark.parametrize("by", CAUSES)
def test_a_client_that_leaves_is_no_error(by: AbortedBy) -> None:
    accounting = Accounting()
    accounting.accept()
    accounting.abort(by)
    errors = value(accounting.counter_series(), catalog.ERRORS)
    assert errors == (0 if by == "client" else 1)
    assert set(accounting.errors) <= set(catalog.ERRORS.always)
    assert {side for side, _ in accounting.errors} == {
        "client": set(),
        "worker": {"worker"},
        "timeout": {"worker"},
        "shutdown": {"router"},
    }[by]


def test_latency_and_first_byte_are_not_mixed_up() -> None:
    accounting = full()
    sums = {one.name: one.sum for one in accounting.histogram_series()}
    assert (sums[catalog.LATENCY.name], sums[catalog.FIRST_BYTE.name]) == (2.0, 1.0)
    assert (sums[catalog.WORKER_DURATION.name], sums[catalog.WORKER_FIRST_BYTE.name]) == (3.0, 0.5)
    assert sums[catalog.TOKEN_GAP.name] == pytest.approx(0.08)
    assert sums[catalog.STREAM_PAUSE.name] == 0.3


@given(st.lists(st.floats(0, 1000), max_size=30))
def test_a_histogram_counts_up_to_and_including_each_bound(observations: list[float]) -> None:
    histogram = Histogram(catalog.LATENCY_BUCKETS)
    for seconds in observations:
        histogram.observe(seconds)
    assert sum(histogram.counts) == len(observations)
    assert histogram.sum == pytest.approx(sum(observations))
    cumulative = 0
    for bound, count in zip(catalog.LATENCY_BUCKETS, histogram.counts, strict=False):
        cumulative += count
        assert cumulative == sum(seconds <= bound for seconds in observations)


@pytest.mark.parametrize("bound", catalog.LATENCY_BUCKETS)
def test_a_value_on_a_bound_is_inside_it(bound: float) -> None:
    histogram = Histogram(catalog.LATENCY_BUCKETS)
    histogram.observe(bound)
    assert histogram.counts[bisect_left(catalog.LATENCY_BUCKETS, bound)] == 1


def test_workers_that_left_are_forgotten() -> None:
    accounting = full()
    accounting.worker_requests["kept"] += 1
    accounting.forget_workers({"kept"})
    series = accounting.counter_series()
    assert value(series, catalog.WORKER_REQUESTS) == value(series, catalog.WORKER_REQUESTS, "kept") == 1
    assert value(series, catalog.CONNECTIONS_OPENED) == value(series, catalog.WORKER_FAILURES) == 0
    assert not any("w" in one.labels for one in accounting.histogram_series())
    assert_conserved(accounting)


def test_methods_that_clients_make_up_do_not_grow_the_metrics() -> None:
    """The server passes any token on as a method; `route_label` promises that clients must not grow the metrics."""
    accounting = Accounting()
    for number in range(500):
        accounting.accept()
        accounting.reject("other", f"MADEUP{number}", RouterError(404, "model_not_found", "x"))
        accounting.accept()
        accounting.finish("other", f"MADEUP{number}", 405, 0.1, 0.1)
    assert len(accounting.counter_series()) < 50


def test_labels_of_models_are_bounded_and_given_for_good() -> None:
    accounting = Accounting()
    accounting.know_models(f"m{number}" for number in range(60))
    accounting.know_models(f"m{number}" for number in range(40, 300))
    assert accounting.model_label("m99") == "m99"
    assert accounting.model_label("m100") == catalog.OTHER
    assert accounting.model_label("made up") == catalog.OTHER
    assert accounting.model_label(None) == ""


def test_a_stream_counts_once_and_each_gap_of_it_by_their_mean() -> None:
    accounting = Accounting()
    accounting.streamed("m", first_token=0.5, longest_pause=0.9, gap=0.02, gaps=10)
    accounting.streamed("m", first_token=0.5, longest_pause=0.0, gap=0.0, gaps=0)
    counts = {one.name: sum(one.counts) for one in accounting.histogram_series()}
    assert counts[catalog.FIRST_TOKEN.name] == 2
    assert counts[catalog.TOKEN_GAP.name] == 10
    assert counts[catalog.STREAM_PAUSE.name] == 1


def test_tokens_are_summed_by_model() -> None:
    accounting = Accounting()
    accounting.used("m", Usage(10, 5, 4))
    accounting.used("m", Usage(1, 2, 0))
    accounting.used("n", Usage(7, 0, 0))
    series = accounting.counter_series()
    assert value(series, catalog.PROMPT_TOKENS, "m") == 11
    assert value(series, catalog.OUTPUT_TOKENS, "m") == 7
    assert value(series, catalog.CACHED_TOKENS) == 4
    assert value(series, catalog.USAGE_TOLD, "m") == 2
    assert value(series, catalog.PROMPT_TOKENS, "n") == 7


def test_what_an_engine_does_not_tell_of_its_cache_is_no_zero() -> None:
    accounting = Accounting()
    accounting.used("tells", Usage(7, 1, 0))
    accounting.used("silent", Usage(7, 1, None))
    told = [one for one in accounting.counter_series() if one.name == catalog.CACHED_TOKENS.name]
    assert [(one.labels, one.value) for one in told] == [(("tells",), 0)]
