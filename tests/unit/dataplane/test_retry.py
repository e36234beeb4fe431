"""The table in `dataplane/retry.py`, row by row and then over everything that can be asked."""

from __future__ import annotations

from itertools import product

import pytest

from dataplane.retry import MAX_ATTEMPTS, Outcome, Step, next_step

FAILURES = [outcome for outcome in Outcome if outcome is not Outcome.COMPLETE]
RESENDABLE = {Outcome.CONNECT_FAILED, Outcome.NOTHING_RECEIVED}
EVERYTHING = list(product(FAILURES, (True, False), range(1, MAX_ATTEMPTS + 3), (True, False)))


@pytest.mark.parametrize(
    ("outcome", "reused", "others_left", "expected"),
    [
        (Outcome.CONNECT_FAILED, False, True, Step.ANOTHER_WORKER),
        (Outcome.CONNECT_FAILED, True, True, Step.ANOTHER_WORKER),
        (Outcome.NOTHING_RECEIVED, True, True, Step.SAME_WORKER),
        (Outcome.NOTHING_RECEIVED, True, False, Step.SAME_WORKER),
        (Outcome.NOTHING_RECEIVED, False, True, Step.ANOTHER_WORKER),
        (Outcome.NOTHING_RECEIVED, False, False, Step.GIVE_UP),
        (Outcome.CONNECT_FAILED, False, False, Step.GIVE_UP),
        (Outcome.BROKEN, False, True, Step.GIVE_UP),
        (Outcome.BROKEN, True, True, Step.GIVE_UP),
        (Outcome.TRUNCATED, False, True, Step.GIVE_UP),
        (Outcome.TRUNCATED, True, True, Step.GIVE_UP),
    ],
)
def test_each_row(outcome: Outcome, reused: bool, others_left: bool, expected: Step) -> None:
    assert next_step(outcome, reused=reused, tried=1, others_left=others_left) is expected


@pytest.mark.parametrize("outcome", [Outcome.BROKEN, Outcome.TRUNCATED])
def test_what_an_engine_may_have_run_is_never_sent_again(outcome: Outcome) -> None:
    for _, reused, tried, others_left in EVERYTHING:
        assert next_step(outcome, reused=reused, tried=tried, others_left=others_left) is Step.GIVE_UP


def test_another_worker_is_tried_exactly_when_one_is_left_and_the_attempts_are_not_used_up() -> None:
    for outcome, reused, tried, others_left in EVERYTHING:
        step = next_step(outcome, reused=reused, tried=tried, others_left=others_left)
        idle_close = outcome is Outcome.NOTHING_RECEIVED and reused
        expected = outcome in RESENDABLE and not idle_close and others_left and tried < MAX_ATTEMPTS
        assert (step is Step.ANOTHER_WORKER) == expected
        assert (step is Step.SAME_WORKER) == idle_close


@pytest.mark.parametrize("outcome", FAILURES)
@pytest.mark.parametrize("reused", [True, False])
def test_a_request_that_always_fails_is_seen_by_few_workers_and_ends(outcome: Outcome, reused: bool) -> None:
    """Every attempt fails alike, each worker's first one on a connection that is `reused`."""
    tried, sent, fresh = 1, 1, not reused
    while (step := next_step(outcome, reused=not fresh, tried=tried, others_left=True)) is not Step.GIVE_UP:
        sent += 1
        if step is Step.SAME_WORKER:
            assert not fresh
            fresh = True
        else:
            tried += 1
            fresh = not reused
        assert sent <= 2 * MAX_ATTEMPTS
    assert tried == (MAX_ATTEMPTS if outcome in RESENDABLE else 1)
    if outcome not in RESENDABLE:
        assert sent == 1
