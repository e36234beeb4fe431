"""Tokens of prompts that a worker has still to compute: counted until answers begin, in the order of sending."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataplane.prefill import Prefills


def test_an_answer_that_begins_ends_the_prompts_before_it_too() -> None:
    prefills = Prefills()
    for name, tokens in (("a", 100), ("b", 20), ("c", 3)):
        prefills.sent(name, tokens)
    assert prefills.total == 123
    prefills.answered("b")
    assert prefills.total == 3
    # It comes late: its answer was passed on whole.
    prefills.answered("a")
    assert prefills.total == 3


def test_a_request_that_ends_without_an_answer_says_nothing_of_the_others() -> None:
    prefills = Prefills()
    prefills.sent("a", 100)
    prefills.sent("b", 20)
    prefills.ended("b")
    prefills.ended("b")
    assert prefills.total == 100


@given(st.lists(st.tuples(st.sampled_from(["answered", "ended"]), st.integers(0, 9)), max_size=40))
def test_nothing_is_left_when_all_have_ended(events: list[tuple[str, int]]) -> None:
    prefills = Prefills()
    for number in range(10):
        prefills.sent(number, number + 1)
    for event, number in events:
        getattr(prefills, event)(number)
        assert prefills.total >= 0
    for number in range(10):
        prefills.ended(number)
    assert prefills.total == 0
    assert not prefills._tokens
