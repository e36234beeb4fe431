"""The breakers of pairs, against what they promise, through any history."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.pd.pair_breaker import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, MOST, PATIENCE, WINDOW, PairBreakers


def opened(now: float = 0.0) -> PairBreakers[str]:
    breakers: PairBreakers[str] = PairBreakers()
    assert [breakers.failed("a", now) for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [True]
    return breakers


def test_three_failures_open_a_pair_and_no_other() -> None:
    breakers = opened()
    assert breakers.is_out("a", FIRST_PAUSE - 1)
    assert not breakers.is_out("b", FIRST_PAUSE - 1)


def test_failures_far_apart_and_with_successes_between_open_nothing() -> None:
    breakers: PairBreakers[str] = PairBreakers()
    for number in range(9):
        assert not breakers.failed("a", number * (WINDOW + 1))
    for _ in range(9):
        breakers.failed("b", 0)
        assert not breakers.passed("b")
        assert not breakers.is_out("b", 0)


def test_it_comes_back_by_one_try() -> None:
    breakers = opened()
    later = FIRST_PAUSE + 1
    assert not breakers.is_out("a", later)
    breakers.begun("a", later)
    assert breakers.is_out("a", later)
    assert breakers.passed("a")
    assert not breakers
    assert not breakers.is_out("a", later)


def test_a_failed_try_doubles_the_pause() -> None:
    breakers = opened()
    now, pauses = 0.0, []
    for _ in range(6):
        start = now
        while breakers.is_out("a", now):
            now += 1
        pauses.append(now - start)
        breakers.begun("a", now)
        assert breakers.failed("a", now)
    assert pauses == [10, 20, 40, 80, LONGEST_PAUSE, LONGEST_PAUSE]


def test_a_try_that_says_nothing_is_followed_by_another() -> None:
    breakers = opened()
    later = FIRST_PAUSE + 1
    breakers.begun("a", later)
    breakers.ended("a")
    assert not breakers.is_out("a", later)
    breakers.begun("a", later)
    assert breakers.is_out("a", later + PATIENCE - 1)
    assert not breakers.is_out("a", later + PATIENCE)


def test_what_was_sent_before_it_opened_counts_no_more() -> None:
    breakers = opened()
    assert not breakers.failed("a", FIRST_PAUSE - 1)
    assert not breakers.is_out("a", FIRST_PAUSE)


def test_it_remembers_so_many_and_not_more() -> None:
    breakers: PairBreakers[int] = PairBreakers()
    for number in range(MOST + 10):
        breakers.failed(number, 0)
    assert len(breakers) == MOST
    breakers.forget(lambda pair: pair % 2 == 0)
    assert len(breakers) == MOST / 2


Event = st.tuples(
    st.sampled_from(["failed", "passed", "begun", "ended"]), st.sampled_from("ab"), st.floats(0, 30, allow_nan=False)
)


@settings(max_examples=200, deadline=None)
@given(st.lists(Event, max_size=60))
def test_no_history_keeps_a_pair_out_for_ever_or_lets_two_tries_in(history: list[tuple[str, str, float]]) -> None:
    breakers: PairBreakers[str] = PairBreakers()
    now = 0.0
    in_a_row = dict.fromkeys("ab", 0)
    for what, pair, pause in history:
        now += pause
        if what == "failed":
            in_a_row[pair] += 1
            breakers.failed(pair, now)
        elif what == "passed":
            in_a_row[pair] = 0
            breakers.passed(pair)
        elif what == "begun":
            was_out = breakers.is_out(pair, now)
            is_try = breakers.begun(pair, now)
            assert not (is_try and was_out)
            assert breakers.is_out(pair, now) == (is_try or was_out), "a second try at the same time"
        else:
            breakers.ended(pair)
        for one in "ab":
            assert not breakers.is_out(one, now) or in_a_row[one] >= FAILURES
            assert not breakers.is_out(one, now + max(LONGEST_PAUSE, PATIENCE))
