"""Who is ejected, for how long, and how many at most."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from controlplane.ejection import Ejections
from controlplane.outliers import OutlierRules, Sample
from shared.table import Worker

RULES = OutlierRules()
FLEET = tuple(Worker(id=f"w{number}", url=f"http://w{number}", state="ready", models=("m",)) for number in range(6))


def samples(*bad: str, workers: tuple[Worker, ...] = FLEET) -> dict[str, Sample]:
    return {worker.id: Sample(worker.id, 20, 80) if worker.id in bad else Sample(worker.id, 100) for worker in workers}


def out(*ids: str, workers: tuple[Worker, ...] = FLEET) -> tuple[Worker, ...]:
    return tuple(msgspec.structs.replace(worker, state="ejected") if worker.id in ids else worker for worker in workers)


def eject(ejections: Ejections, now: float, worker: str = "w0") -> float:
    (ejected,) = ejections.judge(FLEET, (), samples(worker), now)
    assert ejected.worker.id == worker
    return ejected.seconds


def test_an_ejection_ends_once() -> None:
    ejections = Ejections(RULES)
    assert eject(ejections, 100.0) == 30.0
    assert ejections.counts == {("w0", "success-rate"): 1}
    assert ejections.over(out("w0"), 129.9) == ()
    assert ejections.over(out("w0"), 130.0) == ("w0",)
    assert ejections.over(FLEET, 131.0) == ()


def test_each_in_a_row_is_longer_up_to_the_longest_and_good_time_takes_them_back() -> None:
    ejections = Ejections(RULES)
    now, lengths = 0.0, []
    for _ in range(12):
        lengths.append(eject(ejections, now))
        now += lengths[-1]
        assert ejections.over(FLEET, now) == ("w0",)
    assert lengths == [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]
    # Two times as long in service as it was out the last time: twelve less two, and one more.
    assert ejections._records["w0"].row(now + 600) == 10
    ejections.over(FLEET, now + 12 * 300)
    assert not ejections._records
    assert eject(ejections, now + 12 * 300) == 30.0


def test_a_new_life_has_no_record() -> None:
    ejections = Ejections(RULES)
    eject(ejections, 0.0)
    reborn = (msgspec.structs.replace(FLEET[0], epoch=2, state="ejected"), *FLEET[1:])
    assert ejections.over(reborn, 1.0) == ("w0",)
    assert ejections.over(reborn, 1.0) == ()
    (again,) = ejections.judge((msgspec.structs.replace(FLEET[0], epoch=2), *FLEET[1:]), (), samples("w0"), 2.0)
    assert again.seconds == 30.0
    ejections.over(FLEET[1:], 3.0)
    assert not ejections._records
    assert not ejections.counts


def test_g_break_2_those_with_an_open_breaker_count_as_out() -> None:
    ejections = Ejections(RULES._replace(minimum_workers=2, stdev_factor=1.0))
    assert len(ejections.judge(FLEET, ("w1", "w2"), samples("w0"), 0.0)) == 1
    assert ejections.judge(FLEET, ("w1", "w2", "w3"), samples("w0"), 0.0) == ()
    assert ejections.judge(out("w1", "w2", "w3"), (), samples("w0"), 0.0) == ()
    assert Ejections(RULES._replace(max_percent=0)).judge(FLEET, (), samples("w0"), 0.0) == ()


def test_pools_are_of_one_role_and_the_same_models() -> None:
    others = tuple(Worker(id=f"x{n}", url=f"http://x{n}", state="ready", models=("other",)) for n in range(6))
    both = (*FLEET, *others)
    bad = [worker.id for worker in FLEET]
    # All of one model fail, all of the other do not: that says something of the model, not of a worker.
    assert Ejections(RULES).judge(both, (), samples(*bad, workers=both), 0.0) == ()
    assert len(Ejections(RULES).judge(both, (), samples("w0", "x3", workers=both), 0.0)) == 2


def test_who_is_not_in_service_is_not_judged() -> None:
    drains = (msgspec.structs.replace(FLEET[0], state="draining"), *FLEET[1:])
    assert Ejections(RULES).judge(drains, (), samples("w0"), 0.0) == ()


def test_a_restarted_control_plane_ends_what_an_earlier_one_began() -> None:
    ejections = Ejections(RULES)
    (old,) = (msgspec.structs.replace(FLEET[0], state="ejected", since=1000.0),)
    ejections.restore((old, *FLEET[1:]), now=50.0, wall=1010.0)
    assert ejections.over(out("w0"), 69.0) == ()
    assert ejections.over(out("w0"), 70.0) == ("w0",)
    assert eject(ejections, 71.0) == 60.0


def test_switched_off_it_lets_all_back() -> None:
    ejections = Ejections(RULES)
    eject(ejections, 0.0)
    ejections.rules = RULES._replace(interval=0.0)
    assert ejections.over(out("w0"), 1.0) == ("w0",)


@given(
    st.lists(st.tuples(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)), st.floats(1, 100)), max_size=8),
    st.integers(0, 100),
)
def test_g_break_2_never_more_than_the_share_is_out(
    turns: list[tuple[set[int], set[int], float]], percent: int
) -> None:
    fleet = tuple(Worker(id=f"w{number}", url=f"http://w{number}", state="ready") for number in range(10))
    ejections = Ejections(RULES._replace(max_percent=percent))
    ejected: set[str] = set()
    now = 0.0
    for bad, broken, passed in turns:
        now += passed
        ejected -= set(ejections.over(out(*ejected, workers=fleet), now))
        open_now = {f"w{number}" for number in broken}
        new = ejections.judge(
            out(*ejected, workers=fleet), open_now, samples(*(f"w{number}" for number in bad), workers=fleet), now
        )
        assert not ejected & {one.worker.id for one in new}
        ejected |= {one.worker.id for one in new}
        assert not new or len(ejected | open_now) <= 10 * percent // 100
