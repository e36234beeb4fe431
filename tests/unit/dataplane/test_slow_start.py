"""The share of a worker that has just become ready."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from dataplane.slow_start import SlowStart

OLD = ("a", "b")
ALL = ("a", "b", "new")


def started(length: float = 30.0) -> SlowStart[str]:
    slow_start: SlowStart[str] = SlowStart(random.Random(7))
    slow_start.use(OLD, length, 0.0)
    slow_start.use(ALL, length, 100.0)
    return slow_start


def share(slow_start: SlowStart[str], candidates: tuple[str, ...] = ALL) -> float:
    draws = 4000
    return sum("new" in slow_start.thinned(candidates) for _ in range(draws)) / draws


def test_its_share_grows_from_a_tenth() -> None:
    slow_start = started()
    assert 0.08 < share(slow_start) < 0.12
    slow_start.tick(115.0)
    assert 0.52 < share(slow_start) < 0.58
    slow_start.tick(130.0)
    assert slow_start.thinned(ALL) is ALL


def test_who_left_and_came_back_begins_anew() -> None:
    slow_start = started()
    slow_start.tick(130.0)
    slow_start.use(OLD, 30.0, 140.0)
    slow_start.use(ALL, 30.0, 150.0)
    assert share(slow_start) < 0.12


def test_a_table_that_changes_something_else_begins_nothing_anew() -> None:
    slow_start = started()
    slow_start.use(ALL, 30.0, 129.0)
    assert share(slow_start) > 0.9


def test_who_is_alone_or_among_its_like_is_not_left_out() -> None:
    slow_start = started()
    assert share(slow_start, ("new",)) == 1.0
    slow_start.use((*ALL, "newer"), 30.0, 101.0)
    assert share(slow_start, ("new", "newer")) == 1.0
    assert share(slow_start, ("new", "newer", "a")) < 0.2


def test_a_fleet_or_a_plane_that_has_just_started_leaves_nobody_out() -> None:
    slow_start: SlowStart[str] = SlowStart(random.Random(7))
    slow_start.use(OLD, 30.0, 0.0)
    slow_start.use(ALL, 30.0, 20.0)
    assert slow_start.thinned(ALL) is ALL


def test_without_a_length_there_is_none() -> None:
    assert started(0.0).thinned(ALL) is ALL


@given(st.lists(st.tuples(st.sets(st.sampled_from("abcdef")), st.floats(0, 20)), max_size=8), st.integers(0, 99))
def test_somebody_is_left_and_everybody_warm(steps: list[tuple[set[str], float]], seed: int) -> None:
    slow_start: SlowStart[str] = SlowStart(random.Random(seed))
    now = 0.0
    since: dict[str, float] = {}
    for ready, passed in steps:
        now += passed
        slow_start.use(sorted(ready), 10.0, now)
        since = {worker: since.get(worker, now) for worker in ready}
        candidates = tuple(sorted(ready))
        kept = slow_start.thinned(candidates)
        assert set(kept) <= ready
        assert bool(kept) == bool(candidates)
        assert {worker for worker in ready if now - since[worker] >= 10.0} <= set(kept)
