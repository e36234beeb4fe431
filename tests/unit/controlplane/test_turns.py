import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.turns import TOGETHER, Turns

_moments = st.floats(0.0, 1e6)
_intervals = st.floats(0.05, 60.0)


def test_a_few_workers_share_one_turn_and_the_next_ones_have_another() -> None:
    turns = Turns(0.0)
    joined = [turns.join(100.0, 1.0) for _ in range(2 * TOGETHER + 1)]
    assert len(set(map(id, joined))) == 3
    assert len(set(map(id, joined[:TOGETHER]))) == 1


def test_turns_are_spread_over_the_interval_however_many_there_are() -> None:
    turns = Turns(0.25)
    joined = [turns.join(100.0, 2.0) for _ in range(4 * TOGETHER)][::TOGETHER]
    assert sorted(turn.first(100.0, 100.0, 2.0) for turn in joined) == [100.0, 100.5, 101.0, 101.5]


def test_who_leaves_makes_room() -> None:
    turns = Turns(0.0)
    first, *_ = [turns.join(0.0, 1.0) for _ in range(TOGETHER)]
    turns.leave(first)
    assert turns.join(0.3, 1.0) is first


def test_a_turn_comes_at_the_interval() -> None:
    turn = Turns(0.5).join(100.0, 1.0)
    assert turn.first(100.0, 100.0, 1.0) == 100.5
    assert turn.first(100.6, 100.85, 1.0) == 101.5
    assert turn.first(101.6, 107.0, 1.0) == 107.5
    # Who asked for a later time has not moved it for the others.
    assert turn.first(101.6, 101.85, 1.0) == 102.5


def test_another_interval_counts_from_the_last_time_on() -> None:
    turn = Turns(0.0).join(100.0, 1.0)
    assert turn.first(103.1, 103.2, 1.0) == 104.0
    assert turn.first(103.1, 103.2, 1.5) == 104.5
    assert turn.first(103.1, 103.2, 0.5) == 103.5


@settings(max_examples=200)
@given(_moments, _moments, _intervals, _intervals, st.floats(0.0, 0.999), st.floats(0.0, 100.0))
def test_it_comes_within_an_interval_of_when_it_may_first(
    joined: float, passed: float, before: float, interval: float, offset: float, later: float
) -> None:
    turn = Turns(offset).join(joined, before)
    now = joined + passed
    turn.first(now, now, before)
    first = turn.first(now, now + later, interval)
    slack = 1e-6 * interval + 1e-9 * now
    assert first >= now + later - slack
    # An interval that has become shorter counts from the last time on, which may be the first one that was said.
    assert first <= now + later + max(interval, before) + slack


@pytest.mark.parametrize("interval", [0.05, 0.5, 60.0])
def test_workers_of_one_turn_are_read_at_the_same_time_though_their_answers_take_unlike(interval: float) -> None:
    turns = Turns(0.7)
    one, other = turns.join(1000.0, interval), turns.join(1000.0 + interval / 3, interval)
    at = one.first(1000.0, 1000.0, interval)
    assert one.first(at + 0.001 * interval, at + 0.251 * interval, interval) == pytest.approx(
        other.first(at + 0.6 * interval, at + 0.85 * interval, interval)
    )
