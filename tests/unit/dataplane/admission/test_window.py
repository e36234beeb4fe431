"""A window: never more than it allows in any 60 s, and what is settled later counts from then on."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dataplane.admission.window import Window
from shared.limits import WINDOW, WINDOW_STEP, Limit

TOKENS = Limit("key:a:tokens", "window", 100)


def window(allowed: int) -> Window:
    made = Window(TOKENS)
    made.allow(allowed, 0.0)
    return made


def test_what_was_taken_counts_for_60_seconds_and_a_step_at_most() -> None:
    one = window(10)
    one.take(10, 5.5)
    assert not one.has_room(1, 5.5 + WINDOW)
    assert one.room_in(1, 5.5) == pytest.approx(5 + WINDOW + WINDOW_STEP - 5.5)
    assert one.has_room(10, 5.5 + WINDOW + WINDOW_STEP)
    assert one.in_use == 0


def test_there_is_room_again_when_enough_of_it_is_out() -> None:
    one = window(10)
    for second, amount in ((0, 3), (10, 3), (20, 4)):
        one.take(amount, float(second))
    assert one.room_in(3, 30.0) == pytest.approx(31.0)
    assert one.room_in(4, 30.0) == pytest.approx(41.0)
    assert one.room_in(10, 30.0) == one.room_in(99, 30.0) == one.empty_in(30.0) == pytest.approx(51.0)


def test_what_was_not_used_comes_back_and_what_was_used_beyond_is_a_debt() -> None:
    one = window(10)
    one.take(8, 0.0)
    one.give_back(5, 0.0)
    assert (one.in_use, one.has_room(7, 1.0), one.has_room(8, 1.0)) == (3, True, False)
    one.take(20, 30.0)
    assert (one.in_use, one.has_room(0, 30.0)) == (23, False)
    assert one.room_in(1, 61.0) == pytest.approx(30.0)
    one.give_back(3, 0.0)
    assert one.in_use == 20
    assert one.has_room(10, 91.0)


def test_needs_are_what_is_in_use_and_what_was_refused_of_late() -> None:
    one = window(10)
    assert one.needs(Counter(), 0.0) == ({}, {})
    one.take(4, 0.0)
    one.refused.add((0, ""), 0.5, 7)
    assert one.needs(Counter(), 0.6) == ({"": 11}, {})
    assert one.needs(Counter(), 61.0) == ({}, {})


def test_what_counts_is_told_by_how_long_it_does() -> None:
    one = window(100)
    for amount, at in ((5, 0.2), (6, 3.9), (7, 20.0), (8, 20.5)):
        one.take(amount, at)
    one.give_back(7, 20.1)
    assert one.taken(20.6) == {9: 11, 13: 8}
    assert one.taken(62.0) == {1: 6, 4: 8}
    assert one.taken(100.0) == {}


class Windows(RuleBasedStateMachine):
    """Whatever comes, and is settled later: what was let go on is never more than is allowed in any 60 s."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.allowed = 20
        self.window = window(self.allowed)
        # When, how much, and whether it may be settled still.
        self.taken: list[tuple[float, int]] = []
        self.settled: list[tuple[float, int]] = []

    @rule(seconds=st.sampled_from((0.0, 0.01, 0.4, 1.0, 7.3, 29.9, 60.0, 61.0, 500.0)))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(amount=st.integers(0, 25))
    def come(self, amount: int) -> None:
        if self.window.has_room(amount, self.now):
            held = sum(there for when, there in (*self.taken, *self.settled) if self.now - when < WINDOW)
            assert held + amount <= self.allowed
            self.window.take(amount, self.now)
            self.taken.append((self.now, amount))
        else:
            # Nobody is refused for what is long out.
            long = WINDOW + WINDOW_STEP
            held = sum(there for when, there in (*self.taken, *self.settled) if self.now - when <= long)
            assert held + amount > self.allowed

    @rule(position=st.integers(0, 30), spent=st.integers(0, 60))
    def settle(self, position: int, spent: int) -> None:
        if not self.taken:
            return
        when, amount = self.taken.pop(position % len(self.taken))
        self.settled.append((when, min(amount, spent)))
        if spent > amount:
            self.window.take(spent - amount, self.now)
            self.settled.append((self.now, spent - amount))
        else:
            self.window.give_back(amount - spent, when)

    @rule(allowed=st.sampled_from((0, 5, 20)))
    def lend(self, allowed: int) -> None:
        self.allowed = allowed
        self.window.allow(allowed, self.now)

    @invariant()
    def adds_up(self) -> None:
        self.window.pass_on(self.now)
        assert self.window.in_use == sum(there for _, there in self.window._steps)
        assert all(there >= 0 for _, there in self.window._steps)
        assert len(self.window._steps) <= WINDOW + WINDOW_STEP + 1
        assert self.window.empty_in(self.now) <= WINDOW + WINDOW_STEP


TestWindows = Windows.TestCase
TestWindows.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
