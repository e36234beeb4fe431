import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.events.event import Event
from controlplane.reports.page import page_of
from controlplane.reports.report import MAX_MODELS, MAX_POINTS, make_report
from controlplane.reports.rows import WorkerRow
from controlplane.reports.shapes import Cached
from controlplane.reports.tables import cache_rows, model_rows, text_of, traffic_rows
from tests.unit.controlplane.reporting.reporting_rows import NOON, events, hour, row


def test_every_request_is_in_one_of_the_sums() -> None:
    traffic = hour().traffic
    assert (traffic.answered, traffic.refused, traffic.failed, traffic.left) == (120, 12, 6, 12)
    assert traffic.requests == traffic.answered + traffic.refused + traffic.failed + traffic.left
    assert (traffic.rate, traffic.most_active, traffic.retries) == (2.5, 3, {"connect-failed": 6})
    assert (traffic.prompt_tokens, traffic.output_tokens) == (12_000, 1320)


def test_times_tokens_and_costs() -> None:
    report = hour()
    assert report.known_seconds == 60.0
    duration = report.latency.duration
    assert duration is not None
    assert duration.count == 120
    assert duration.mean == pytest.approx(0.9)
    assert 0.8 < duration.p50 <= 1.0
    (model,) = report.models
    assert (model.requests, model.failed, model.worker_seconds, model.cached_tokens) == (150, 6, 108.0, 2400)
    assert report.cached_part == 0.2


def test_nothing_is_said_of_open_requests_where_no_look_found_any() -> None:
    short = row(0)
    assert (short.active, short.queued) == (0, 0)
    said = dict(traffic_rows(make_report([short], [], NOON, NOON + 60.0)))
    assert (said["requests"], said["waited"]) == ("36 (2.40/s)", "10")


def test_events_tell_of_processes_what_went_wrong() -> None:
    died = [
        Event(time=NOON + 9.0, level="error", kind="process", text=f"{what} was killed", told_by="supervisor")
        for what in ("plane 0", "the control plane")
    ]
    told = make_report([row(0)], [*died, *events()], NOON, NOON + 60.0).events
    assert [event.text.split(" was")[0] for event in told[:2]] == ["plane 0", "the control plane"]
    assert len(told) == 3


def test_requests_of_pairs_that_one_worker_did_are_said() -> None:
    rows = [row(0), row(1)]
    rows[0].disaggregated = {"two-workers": 20.0, "one-worker": 3.0}
    rows[1].disaggregated = {"one-worker": 4.0, "a-new-way": 1.0}
    said = dict(traffic_rows(make_report(rows, [], NOON, NOON + 60.0)))["prefill, decode"]
    assert said == "20 by a pair, 7 by one worker for want of a pair, 1 a-new-way"


def test_tokens_by_a_policys_account_are_marked_as_an_estimate() -> None:
    _, engines, policy = cache_rows(hour())
    assert engines == ("engines, by usage", "12,000", "2,400", "20.0%")
    assert policy == ("by cache_aware, estimated", "~12,000", "~3,600", "~30.0%")


def test_one_is_said_as_one_and_all_other_models_are_explained() -> None:
    one = row(0, name="other")
    one.workers = {"http://a:8000": WorkerRow("regular", 1.0, 0.0, 1, 1.0, 0, 0.0)}
    report = make_report([one], [], NOON, NOON + 60.0)
    assert "\nregular: 1 request at 1 worker; the busiest" in text_of(report)
    assert "\n(any other): names that no worker serves" in text_of(report)
    assert "(any other): names that no worker serves" in page_of(report, "x")
    assert "any other" not in page_of(hour(), "x")


def test_what_no_engine_told_of_its_cache_is_not_zero() -> None:
    silent = row(0)
    silent.models["m"].cached_tokens = None
    report = make_report([silent], [], NOON, NOON + 60.0)
    assert (report.cached, report.cached_part, report.models[0].cached_tokens) == (None, None, None)
    assert ["engines" in name for name, *_ in cache_rows(report)[1:]] == [False]
    assert model_rows(report.models)[1][4] == "-"
    # Of two models one's engines tell.
    report = make_report([silent, row(1, name="tells")], [], NOON, NOON + 60.0)
    assert report.cached == Cached(prompt_tokens=3000, cached_tokens=600)
    assert (report.cached_part, report.traffic.prompt_tokens) == (0.2, 6000)


def test_errors_are_by_cause_the_most_frequent_first() -> None:
    assert [(one.cause, one.status, one.count) for one in hour().errors] == [
        ("client_left", "200", 12),
        ("model_not_found", "404", 8),
        ("workers_unreachable", "502", 6),
        ("", "400", 4),
    ]


def test_balance_and_what_breakers_did() -> None:
    report = hour()
    first, second = report.workers
    assert (first.worker, first.share, first.failures, first.breaker_opened, first.ejected) == (
        "http://a:8000", 0.6667, 6, 1, 0,
    )  # fmt: skip
    assert (first.mean_seconds, first.mean_first_byte, first.busy_seconds) == (0.9, 0.08, 72.0)
    assert (second.mean_first_byte, second.ejected) == (None, 1)
    (balance,) = report.balance
    assert (balance.workers, balance.requests, balance.most_over_mean) == (2, 120, 1.333)
    assert [event.text[:7] for event in report.events] == ["breaker"]


def test_limits_and_who_waited() -> None:
    report = hour()
    assert [(one.limit, one.amount, one.rows, one.mean_part, one.most_part) for one in report.limits] == [
        ("total", 20.0, 4, 0.625, 1.0),
        ("model:m", 100.0, 4, 0.125, 0.2),
    ]
    assert report.traffic.most_queued == 3
    assert report.latency.queue_wait is not None
    assert (report.latency.queue_wait.count, report.latency.queue_wait.mean) == (40, 0.04)


def test_policies() -> None:
    (policy,) = hour().policies
    assert policy.choices == {"prefix_hit": 80, "prefix_miss": 40}
    assert (policy.prompt_tokens, policy.cached_tokens) == (12_000, 3600)


def test_a_report_of_all_begins_with_the_first_row() -> None:
    report = make_report([row(0), row(1)], events(), 0.0, NOON + 60.0)
    assert (report.since, report.known_seconds) == (NOON, 30.0)


def test_rows_out_of_its_time_are_left_out() -> None:
    report = make_report([row(number) for number in range(10)], events(), NOON + 15.0, NOON + 45.0)
    assert report.known_seconds == 30.0
    assert [point.time for point in report.points] == [NOON + 30.0, NOON + 45.0]


def test_nothing_is_a_report_too() -> None:
    report = make_report([], [], NOON, NOON + 60.0)
    assert (report.traffic.requests, report.traffic.rate, report.points, report.cached_part) == (0, 0.0, (), None)
    assert report.latency.duration is None


@given(st.integers(1, 300))
@settings(max_examples=8, deadline=None)
def test_points_are_bounded_and_lose_no_request(count: int) -> None:
    report = make_report((row(number) for number in range(count)), [], 0.0, NOON + 15.0 * count)
    assert len(report.points) <= MAX_POINTS
    assert report.traffic.requests == 36 * count
    assert sum(round(point.requests * point.seconds) for point in report.points) == 36 * count
    assert [point.time for point in report.points] == sorted(point.time for point in report.points)


def test_models_are_bounded() -> None:
    rows = [row(number, name=f"m{number}") for number in range(MAX_MODELS + 5)]
    report = make_report(rows, [], 0.0, NOON + 1e6)
    assert len(report.models) == MAX_MODELS
    assert report.traffic.requests == 36 * len(rows)
