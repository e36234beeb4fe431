from hypothesis import given
from hypothesis import strategies as st

from controlplane.planes import FOLDED_AFTER, MAX_NACK, MAX_PLANES, SUSPICIOUS_AFTER, Planes
from controlplane.totals import HistogramTotal, Totals
from shared.messages import Ack, Goodbye, InflightReport, Nack
from shared.plane_identity import PlaneIdentity
from shared.table import Stamp
from tests.unit.controlplane.reports import STAMP, identity, report


def nobody(_plane: PlaneIdentity) -> bool:
    return False


def everybody(_plane: PlaneIdentity) -> bool:
    return True


def finished(planes: Planes) -> float:
    return planes.totals().counters.get("finished_requests", {}).get((), 0.0)


def test_what_a_plane_told() -> None:
    planes = Planes()
    planes.acked(Ack(identity(), STAMP), 1.0)
    planes.inflight(InflightReport(identity(), 4, {"a": 2}, {}, 0), 2.0)
    assert planes.refused(Nack(identity(), STAMP, "n" * 1000), 3.0)
    assert not planes.refused(Nack(identity(), STAMP, "n" * 1000), 3.5)
    (plane,) = planes.present()
    assert (plane.acked, plane.inflight, plane.inflight_seq, plane.heard) == (STAMP, {"a": 2}, 4, 3.5)
    assert plane.nack == "n" * MAX_NACK
    planes.acked(Ack(identity(), STAMP), 4.0)
    assert planes.present()[0].nack is None


def test_what_is_open_and_what_is_at_workers_are_of_one_instant() -> None:
    planes = Planes()
    planes.counters(report(identity(), active=3, inflight={"a": 2}), 1.0)
    planes.inflight(InflightReport(identity(), 1, {"a": 9}, {}, 11), 1.1)
    (plane,) = planes.present()
    assert (plane.active, plane.inflight) == (11, {"a": 9})
    planes.counters(report(identity(), active=1, inflight={}), 2.0)
    assert (plane.active, plane.inflight) == (1, {})
    again = Planes()
    again.restore(*planes.kept(), alive={"p"}, now=3.0)
    assert again.present()[0].active == 1


def test_in_flight_is_summed_over_planes() -> None:
    planes = Planes()
    planes.inflight(InflightReport(identity("p"), 1, {"a": 2, "b": 1}, {}, 0), 1.0)
    planes.counters(report(identity("q"), inflight={"a": 3}), 1.0)
    assert planes.inflight_by_worker() == {"a": 5, "b": 1}


def test_a_plane_that_died_is_found_dead_soon_and_its_active_requests_are_aborted() -> None:
    planes = Planes()
    planes.counters(report(identity(), finished=5, active=2, inflight={"a": 2}), 0.0)
    assert planes.fold_silent(SUSPICIOUS_AFTER - 0.1, everybody) == ()
    (lost,) = planes.fold_silent(SUSPICIOUS_AFTER, everybody)
    assert lost.identity == identity()
    assert planes.fold_silent(SUSPICIOUS_AFTER + 1, everybody) == ()
    assert planes.present() == ()
    assert planes.inflight_by_worker() == {}
    totals = planes.totals()
    assert (totals.active, totals.counters["aborted_requests"]) == (0, {("plane", "unknown"): 2.0})
    assert finished(planes) == 5


def test_a_silent_plane_is_folded_and_counts_once_when_it_speaks_again() -> None:
    planes = Planes()
    planes.counters(report(identity(), finished=5, active=2), 0.0)
    assert planes.fold_silent(FOLDED_AFTER, nobody) == ()
    (plane,) = planes.present()
    assert plane.is_folded
    assert (finished(planes), planes.totals().active) == (5, 2)
    planes.counters(report(identity(), finished=7), FOLDED_AFTER + 1)
    assert (finished(planes), planes.totals().active) == (7, 0)
    assert not planes.present()[0].is_folded


def test_however_many_planes_fall_silent_each_counts_once_when_it_speaks_again() -> None:
    planes = Planes()
    names = [f"p{number}" for number in range(100)]
    for name in names:
        planes.counters(report(identity(name), finished=5), 0.0)
    planes.fold_silent(FOLDED_AFTER, nobody)
    for name in names:
        planes.counters(report(identity(name), finished=7), FOLDED_AFTER + 1)
    assert finished(planes) == 700


def test_a_folded_plane_may_be_found_dead_later() -> None:
    planes = Planes()
    planes.counters(report(identity(), active=1), 0.0)
    planes.fold_silent(FOLDED_AFTER, nobody)
    assert len(planes.fold_silent(FOLDED_AFTER + 1, everybody)) == 1
    assert planes.present() == ()


def test_goodbye_keeps_the_sums() -> None:
    planes = Planes()
    planes.counters(report(identity(), finished=5), 0.0)
    assert planes.said_goodbye(Goodbye(identity(), {}), 1.0).is_dead
    assert planes.present() == ()
    assert finished(planes) == 5


def test_planes_stand_by_slot_and_the_newest_of_a_slot_last() -> None:
    planes = Planes()
    for name, slot, started in (("new", 0, 9.0), ("other", 1, 0.0), ("old", 0, 1.0)):
        planes.hear(identity(name, slot=slot, started=started), 0.0)
    assert [plane.identity.id for plane in planes.present()] == ["old", "new", "other"]


def test_the_number_of_planes_is_bounded_and_the_sums_survive() -> None:
    planes = Planes()
    for number in range(MAX_PLANES + 200):
        planes.counters(report(identity(str(number)), finished=1, active=1), float(number))
    assert finished(planes) == MAX_PLANES + 200
    assert len(planes.present()) < MAX_PLANES + 100


def test_sums_about_workers_that_left_are_dropped_from_what_is_kept_for_ever() -> None:
    planes = Planes()
    for number in range(100):
        plane = identity(str(number))
        planes.counters(report(plane, worker_requests={"a": 1, "b": 1}), 0.0)
        planes.said_goodbye(Goodbye(plane, {}), 0.0)
    planes.forget_workers({"b": None})
    totals = planes.totals().counters["worker_requests"]
    assert totals[("b",)] == 100
    assert totals[("a",)] < 100


steps = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["report", "goodbye", "wait", "silence", "kill"]), st.integers(0, 5)),
    max_size=40,
)


@given(steps)
def test_sums_never_fall_and_always_add_up(history: list[tuple[int, str, int]]) -> None:
    planes = Planes()
    now, sums = 0.0, dict.fromkeys(range(4), (0, 0))
    dead: set[str] = set()
    names = {number: f"{number}-0" for number in range(4)}
    before = 0.0
    for number, step, amount in history:
        now += 0.5
        if step == "report":
            done = sums[number][0] + amount
            sums[number] = (done, amount)
            planes.counters(report(identity(names[number]), finished=done, active=amount), now)
        elif step == "goodbye":
            planes.said_goodbye(Goodbye(identity(names[number]), {}), now)
            dead.add(names[number])
        elif step == "kill":
            dead.add(names[number])
        else:
            now += 1.0 if step == "wait" else FOLDED_AFTER
        planes.fold_silent(now, lambda plane: plane.id in dead)
        if names[number] in dead:
            # What died is replaced by a plane of another name that counts from nothing.
            names[number] += "'"
            sums[number] = (0, 0)
        totals = planes.totals()
        counters = {name: sum(family.values()) for name, family in totals.counters.items()}
        assert counters.get("finished_requests", 0.0) >= before
        before = counters.get("finished_requests", 0.0)
        ended = before + counters.get("aborted_requests", 0.0)
        assert counters.get("accepted_requests", 0.0) == ended + totals.active


def test_sums_are_complete_when_those_that_are_expected_have_reported_or_do_not_come() -> None:
    planes = Planes()
    assert planes.is_complete(0.0)
    planes.expect({"p", "q"}, 1.0)
    planes.hear(identity("p"), 1.0)
    planes.counters(report(identity("p")), 1.0)
    planes.hear(identity("q"), 1.0)
    assert not planes.is_complete(2.0)
    assert planes.is_complete(1.0 + FOLDED_AFTER)
    planes.counters(report(identity("q")), 2.0)
    assert planes.is_complete(2.0)


def handed_on(before: Planes, *alive: str) -> Planes:
    """The planes of a successor, before any of them has reported to it."""
    after = Planes()
    after.restore(*before.kept(), alive, 100.0)
    return after


def test_a_successor_begins_with_what_was_counted() -> None:
    before = Planes()
    before.counters(report(identity("lives"), finished=5, active=1), 0.0)
    before.counters(report(identity("ended"), finished=7), 0.0)
    before.said_goodbye(Goodbye(identity("ended"), {}), 0.0)
    before.counters(report(identity("dies", slot=1), finished=11, active=2), 0.0)
    after = handed_on(before, "lives")
    totals = after.totals()
    assert (finished(after), totals.active) == (23, 1)
    assert totals.counters["aborted_requests"] == {("plane", "unknown"): 2.0}
    # What lives reports anew, and counts once.
    after.counters(report(identity("lives"), finished=6), 101.0)
    assert finished(after) == 24
    after.said_goodbye(Goodbye(identity("lives"), {}), 102.0)
    assert finished(handed_on(after)) == 24


def test_what_another_version_counted_is_left_out() -> None:
    other = Totals(
        0,
        {"finished_requests": {(): 3.0, ("x",): 1.0}, "no_such": {(): 1.0}},
        {"request_duration_seconds": {("/v1/models",): HistogramTotal([1], 1.0)}, "no_such": {}},
    )
    planes = Planes()
    planes.restore(other, (), (), 0.0)
    totals = planes.totals()
    assert totals.counters == {"finished_requests": {(): 3.0}}
    assert not any(totals.histograms.values())


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["count", "die", "restart"])), max_size=40))
def test_the_sums_never_fall_over_lives_of_planes_and_control_planes(steps: list[tuple[str, str]]) -> None:
    planes, counts, lives, seen = Planes(), dict.fromkeys("abc", 0), dict.fromkeys("abc", 0), 0.0
    for name, step in steps:
        plane = identity(f"{name}{lives[name]}")
        if step == "count":
            counts[name] += 1
            planes.counters(report(plane, finished=counts[name]), 0.0)
        elif step == "die":
            lives[name] += 1
            counts[name] = 0
        else:
            planes = handed_on(planes, *(f"{each}{lives[each]}" for each in "abc"))
        assert finished(planes) >= seen
        seen = finished(planes)
    assert seen == sum(1 for _, step in steps if step == "count")


def test_the_lag_of_an_acknowledgement() -> None:
    planes = Planes()
    one = identity("one")

    def ack(version: int, now: float) -> None:
        planes.acked(Ack(one, Stamp(1, version, version)), now)

    planes.published((1, 1), 100.0)
    ack(1, 109.0)
    (plane,) = planes.present()
    # It had that table from its start.
    assert planes.ack_lag(plane, 109.0) is None
    planes.published((1, 2), 110.0)
    planes.published((1, 3), 112.0)
    assert planes.ack_lag(plane, 115.0) == 5.0
    ack(2, 116.0)
    assert planes.ack_lag(plane, 117.0) == 5.0
    ack(3, 118.0)
    assert planes.ack_lag(plane, 200.0) == 6.0
