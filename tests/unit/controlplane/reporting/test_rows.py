from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from controlplane.admission.standing import AdmissionStatus, LimitStatus
from controlplane.reports.rows import MAX_LIMITS, MAX_REQUEST_KINDS, Peaks, Row, Sums, Tally, Times, row_between
from controlplane.totals import Totals
from shared.table import Worker
from tests.unit.controlplane.figures.sums import sums

WORKERS: Mapping[str, Worker] = {
    "a": Worker(id="a", url="http://a", state="ready", role="prefill"),
    "b": Worker(id="b", url="http://b"),
}


def row(old: Totals, new: Totals, **tallies: tuple[Tally, ...]) -> Row:
    return row_between(Sums(time=100.0, totals=old), Sums(time=115.0, totals=new, **tallies), WORKERS, seconds=15.0)


def test_a_row_has_what_was_counted_between() -> None:
    told = row(sums(10), sums(15, failed=2, workers={"a": 14, "gone": 3}))
    assert (told.time, told.seconds, told.ready, told.members) == (115.0, 15.0, 1, 2)
    assert sorted(told.requests) == [
        ("/v1/completions", "m", "200", "", 5.0),
        ("/v1/completions", "m", "200", "client_left", 5.0),
        ("/v1/completions", "m", "404", "model_not_found", 35.0),
        ("/v1/completions", "m", "502", "workers_unreachable", 2.0),
    ]
    model = told.models["m"]
    assert (model.prompt_tokens, model.output_tokens, model.cached_tokens) == (500.0, 50.0, 125.0)
    assert (sum(model.duration.counts), round(model.duration.sum, 6), model.worker_seconds) == (5, 1.0, 1.0)
    assert (told.workers["a"].requests, told.workers["a"].failures, told.workers["a"].role) == (4.0, 4.0, "prefill")
    # It left the table meanwhile.
    assert (told.workers["gone"].requests, told.workers["gone"].role) == (3.0, "")


def test_a_row_has_how_requests_of_pairs_were_done() -> None:
    old, new = sums(1), sums(2)
    old.counters["disaggregated_requests"] = {("one-worker",): 2.0, ("two-workers",): 9.0}
    new.counters["disaggregated_requests"] = {("one-worker",): 5.0, ("two-workers",): 9.0}
    assert row(old, new).disaggregated == {"one-worker": 3.0}


def test_cached_tokens_are_none_where_no_engine_ever_told_of_them() -> None:
    old, new, silent = sums(10), sums(15), sums(15)
    new.counters["cached_prompt_tokens"] = old.counters["cached_prompt_tokens"]
    del silent.counters["cached_prompt_tokens"]
    assert row(old, new).models["m"].cached_tokens == 0.0
    assert row(old, silent).models["m"].cached_tokens is None


def test_a_row_has_the_most_of_its_time() -> None:
    limits = (
        LimitStatus(name="total", kind="slots", amount=24.0, in_use=12.0, lent=24.0),
        LimitStatus(name="rate", kind="rate", amount=5.0, in_use=None, lent=5.0),
    )
    sums = Sums(time=1.0, totals=Totals())
    peaks = Peaks()
    peaks.note(7, AdmissionStatus(limits=limits, waiting=3))
    peaks.note(9, AdmissionStatus(limits=(replace(limits[0], in_use=5.0), limits[1])))
    made = row_between(sums, sums, {}, seconds=1.0, peaks=peaks)
    assert (made.limits, made.queued, made.active) == ([("total", 24.0, 12.0)], 3, 9)
    many = tuple(replace(limits[0], name=str(number), in_use=float(number)) for number in range(MAX_LIMITS + 5))
    peaks.note(0, AdmissionStatus(limits=many))
    assert [name for name, *_ in peaks.fullest()][:2] == ["24", "23"]
    assert len(peaks.fullest()) == MAX_LIMITS


def test_nothing_new_is_a_short_row() -> None:
    told = row(sums(10), sums(10))
    assert msgspec.json.encode(told) == b'{"time":115.0,"seconds":15.0,"ready":1,"members":2}'


def test_sums_that_began_anew_count_from_zero() -> None:
    told = row(sums(10), sums(4))
    assert sum(count for *_, status, cause, count in told.requests if (status, cause) == ("200", "")) == 4.0
    assert sum(told.models["m"].duration.counts) == 4


def test_breakers_and_ejections_are_differences_too() -> None:
    old = Sums(time=1.0, totals=Totals(), breakers=(Tally("a", "open", 2), Tally("a", "closed", 1)))
    new = Sums(
        time=2.0,
        totals=Totals(),
        breakers=(Tally("a", "open", 5), Tally("a", "closed", 1), Tally("b", "open", 1)),
        ejections=(Tally("b", "latency", 1),),
    )
    told = row_between(old, new, WORKERS, seconds=1.0)
    assert told.breakers == [("a", "open", 3), ("b", "open", 1)]
    assert told.ejections == [("b", "latency", 1)]


def test_a_row_is_bounded_and_loses_no_request() -> None:
    kinds: dict[tuple[str, ...], float]
    kinds = {("/x", "POST", f"m{number}", "200", ""): 1.0 + number for number in range(2000)}
    told = row(Totals(), Totals(counters={"requests": kinds}))
    assert len(told.requests) == MAX_REQUEST_KINDS + 1
    assert sum(count for *_, count in told.requests) == sum(kinds.values())


def test_it_is_the_same_after_a_file() -> None:
    told = row(Totals(), sums(7, failed=1))
    assert msgspec.json.decode(msgspec.json.encode(told), type=Row) == told


def test_times_of_another_version_are_left_out() -> None:
    times = Times([1, 2], 3.0)
    times.add(Times([1, 1, 1], 9.0))
    times.add(Times([], 0.0))
    times.add(Times([1, 0], 1.0))
    assert times == Times([2, 2], 4.0)
