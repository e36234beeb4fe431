from controlplane.totals import HistogramTotal, Totals
from shared.plane_report import CounterSeries
from tests.unit.controlplane.reports import BUCKETS, identity, report


def test_sums_over_planes() -> None:
    totals = Totals()
    totals.add(report(identity("p"), finished=3, active=1), lost=False)
    totals.add(report(identity("q"), finished=4, active=2), lost=False)
    assert totals.active == 3
    assert totals.counters["accepted_requests"] == {(): 10.0}
    total = totals.histograms["request_duration_seconds"][("/v1/models",)]
    assert (sum(total.counts), len(total.counts), total.sum) == (7, BUCKETS, 10.5)


def test_what_a_lost_plane_had_active_was_aborted() -> None:
    totals = Totals()
    totals.add(report(identity(), finished=3, active=2), lost=True)
    assert totals.active == 0
    assert totals.counters["aborted_requests"] == {("plane",): 2.0}
    assert totals.counters["request_errors"] == {("router", "plane_lost"): 2.0}


def test_series_that_the_catalog_does_not_have_are_left_out() -> None:
    totals = Totals()
    strange = (CounterSeries("no_such", (), 1), CounterSeries("requests", ("only", "two"), 1))
    totals.add(report(identity(), extra=strange), lost=False)
    assert totals.counters.keys() == {"accepted_requests", "finished_requests"}


def test_workers_that_left_are_dropped() -> None:
    totals = Totals()
    totals.add(report(identity(), worker_requests={"a": 1, "b": 2}), lost=False)
    totals.keep_workers(frozenset({"b"}))
    assert totals.counters["worker_requests"] == {("b",): 2}
    assert totals.counters["accepted_requests"] == {(): 0.0}


def test_a_copy_is_independent() -> None:
    totals = Totals(histograms={"h": {(): HistogramTotal([1], 1.0)}})
    copy = totals.copy()
    copy.add(report(identity(), finished=1), lost=False)
    assert totals == Totals(histograms={"h": {(): HistogramTotal([1], 1.0)}})
