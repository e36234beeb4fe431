from controlplane.totals import HistogramTotal, Totals
from shared import catalog
from shared.plane_report import CounterSeries, Exemplar
from tests.unit.controlplane.reports import BUCKETS, identity, report


def test_sums_over_planes() -> None:
    totals = Totals()
    totals.add(report(identity("p"), finished=3, active=1), lost=False)
    totals.add(report(identity("q"), finished=4, active=2), lost=False)
    assert totals.active == 3
    assert totals.counters["accepted_requests"] == {(): 10.0}
    total = totals.histograms["request_duration_seconds"][("/v1/models", "m")]
    assert (sum(total.counts), len(total.counts), total.sum) == (7, BUCKETS, 10.5)


def test_what_a_lost_plane_had_active_was_aborted() -> None:
    totals = Totals()
    totals.add(report(identity(), finished=3, active=2), lost=True)
    assert totals.active == 0
    assert totals.counters["aborted_requests"] == {("plane", "unknown"): 2.0}
    assert totals.counters["request_errors"] == {("router", "plane_lost"): 2.0}


def test_series_that_the_catalog_does_not_have_are_left_out() -> None:
    totals = Totals()
    strange = (CounterSeries("no_such", (), 1), CounterSeries("requests", ("only", "two"), 1))
    totals.add(report(identity(), extra=strange), lost=False)
    assert totals.counters.keys() == {"accepted_requests", "finished_requests", "plane_resyncs", "plane_kv_resyncs"}


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


def test_series_of_models_are_bounded_over_lives_of_planes() -> None:
    totals = Totals()
    for life in range(3):
        series = (CounterSeries("prompt_tokens", (f"m{life}-{number}",), 1) for number in range(50))
        totals.add(report(identity(f"p{life}"), extra=tuple(series)), lost=False)
    tokens = totals.counters["prompt_tokens"]
    # One of the labels is that of the report's histogram.
    assert len(tokens) == catalog.MAX_MODELS
    assert tokens[(catalog.OTHER,)] == 51
    assert sum(tokens.values()) == 150


def test_times_of_workers_that_left_are_dropped() -> None:
    totals = Totals(histograms={"worker_request_duration_seconds": {(key,): HistogramTotal([2], 1.0) for key in "ab"}})
    totals.keep_workers(frozenset({"b"}))
    assert totals.histograms["worker_request_duration_seconds"].keys() == {("b",)}


def test_series_of_planes_are_bounded() -> None:
    totals = Totals()
    for slot in range(5):
        totals.add(report(identity(f"p{slot}", slot=slot)), lost=True)
    totals.keep_planes(frozenset({"0"}), 3)
    assert totals.counters["plane_resyncs"].keys() == {("0",), ("3",), ("4",)}


def test_what_a_lost_plane_had_active_ended_as_a_request_too() -> None:
    totals = Totals()
    totals.add(report(identity(), active=2), lost=True)
    assert sum(totals.counters["requests"].values()) == 2


def exemplar(trace: str, at: float, *, bucket: int = 3, labels: tuple[str, ...] = ("/v1/models", "m")) -> Exemplar:
    return Exemplar("request_duration_seconds", labels, bucket, trace, 0.04, at)


def test_exemplars_are_the_newest_of_the_planes_that_live() -> None:
    totals = Totals()
    totals.add(report(identity("p"), exemplars=(exemplar("old", 1.0), exemplar("alone", 1.0, bucket=4))), lost=False)
    totals.add(report(identity("q"), exemplars=(exemplar("new", 3.0),)), lost=False)
    totals.add(report(identity("r"), exemplars=(exemplar("older", 2.0),)), lost=False)
    totals.add(report(identity("dead"), exemplars=(exemplar("lost", 4.0),)), lost=True)
    assert sorted(one.trace for one in totals.exemplars.values()) == ["alone", "new"]
    copy = totals.copy()
    copy.add(report(identity("q"), exemplars=(exemplar("newest", 5.0),)), lost=False)
    assert sorted(one.trace for one in totals.exemplars.values()) == ["alone", "new"]


def test_exemplars_that_the_catalog_has_no_place_for_are_left_out() -> None:
    totals = Totals()
    strange = (
        exemplar("a", 1.0, bucket=BUCKETS),
        exemplar("b", 1.0, bucket=-1),
        exemplar("c", 1.0, labels=("m",)),
        Exemplar("no_such", (), 0, "d", 0.0, 1.0),
    )
    totals.add(report(identity(), exemplars=strange), lost=False)
    assert totals.exemplars == {}
