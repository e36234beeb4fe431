from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataplane.avoidance import FIRST_PAUSE, LONGEST_PAUSE, Avoidance

ALL = ("a", "b", "c")


def test_a_worker_that_failed_is_avoided_for_a_moment() -> None:
    avoidance: Avoidance[str] = Avoidance()
    avoidance.failed("b", 10.0)
    assert avoidance.preferred(ALL, 10.0) == ("a", "c")
    assert avoidance.preferred(ALL, 10.0 + FIRST_PAUSE) == ALL


def test_the_pause_doubles_up_to_its_limit() -> None:
    avoidance: Avoidance[str] = Avoidance()
    pauses = []
    for _ in range(8):
        avoidance.failed("a", 0.0)
        pauses.append(next(t for t in (0.2, 0.4, 0.8, 1.6, 3.2, 5.0) if avoidance.preferred(ALL, t) == ALL))
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]


def test_success_ends_it() -> None:
    avoidance: Avoidance[str] = Avoidance()
    avoidance.failed("a", 0.0)
    avoidance.reached("a")
    assert avoidance.preferred(ALL, 0.0) == ALL
    avoidance.failed("a", 0.0)
    assert avoidance.preferred(ALL, FIRST_PAUSE) == ALL


@given(st.sets(st.sampled_from(ALL)))
def test_somebody_is_always_left(failed: set[str]) -> None:
    avoidance: Avoidance[str] = Avoidance()
    for worker in failed:
        avoidance.failed(worker, 0.0)
    assert avoidance.preferred(ALL, 0.0) == (tuple(one for one in ALL if one not in failed) or ALL)


def test_gone_workers_are_forgotten() -> None:
    avoidance: Avoidance[str] = Avoidance()
    avoidance.failed("a", 0.0)
    avoidance.failed("b", 0.0)
    avoidance.forget_all_but({"b"})
    assert avoidance.preferred(ALL, 0.0) == ("a", "c")
