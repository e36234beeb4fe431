"""The table in `dataplane/retry.py`, row by row and then over everything that can be asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.retry import (
    MAX_WAIT,
    NOT_RUN_STATUSES,
    RETRYABLE_STATUSES,
    SAFE_METHODS,
    Attempt,
    Outcome,
    RetryBudget,
    Step,
    backoff,
    denied,
    may_be_sent_again,
    next_step,
    retry_after,
)

MAX = 5
FAILURES = [outcome for outcome in Outcome if outcome is not Outcome.COMPLETE]
METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "MADEUP"]
BOOLEANS = (True, False)


def step(outcome: Outcome, *, method: str = "POST", number: int = 1, max_attempts: int = MAX, **more: object) -> Step:
    return next_step(Attempt(outcome, method, number, **more), max_attempts=max_attempts)  # type: ignore[arg-type]


def everything() -> Iterator[Attempt]:
    """Every attempt that differs in what the table asks for."""
    for outcome, method, number, reused, others, budget, silent, twice in product(
        FAILURES, METHODS, range(1, MAX + 2), BOOLEANS, BOOLEANS, BOOLEANS, (0, 1, 2), BOOLEANS
    ):
        for status in sorted(RETRYABLE_STATUSES | {200, 400, 501}) if outcome is Outcome.STATUS else [0]:
            for wait, waited in ((0.0, 0.0), (0.4, 0.6), (0.4, 0.61), (MAX_WAIT + 1, 0.0)):
                yield Attempt(
                    outcome,
                    method,
                    number,
                    status,
                    reused,
                    others,
                    budget,
                    wait,
                    waited,
                    silent,
                    may_be_run_twice=twice,
                )


# --- rows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("others_left", BOOLEANS)
@pytest.mark.parametrize("budget_left", BOOLEANS)
@pytest.mark.parametrize("number", [1, MAX, MAX + 1])
def test_a_close_on_a_used_connection_is_the_same_workers_again_and_free(
    others_left: bool, budget_left: bool, number: int
) -> None:
    attempt = Attempt(
        Outcome.NOTHING_RECEIVED, "POST", number, reused=True, others_left=others_left, budget_left=budget_left
    )
    assert next_step(attempt, max_attempts=MAX) is Step.SAME_WORKER


@pytest.mark.parametrize("reused", BOOLEANS)
def test_what_a_worker_held_for_a_while_is_not_sent_again_unless_it_is_safe(reused: bool) -> None:
    assert step(Outcome.HELD, reused=reused, others_left=True) is Step.GIVE_UP
    assert step(Outcome.HELD, method="GET", reused=reused, others_left=True) is Step.ANOTHER_WORKER


@pytest.mark.parametrize("reused", BOOLEANS)
def test_what_may_be_run_twice_goes_to_one_more_worker(reused: bool) -> None:
    once = Attempt(Outcome.HELD, "POST", 1, reused=reused, others_left=True, may_be_run_twice=True)
    assert next_step(once, max_attempts=MAX) is Step.ANOTHER_WORKER
    assert next_step(replace(once, others_left=False), max_attempts=MAX) is Step.ANY_WORKER_LATER
    for other in (replace(once, silent=2), replace(once, number=MAX), replace(once, budget_left=False)):
        assert next_step(other, max_attempts=MAX) is Step.GIVE_UP


@pytest.mark.parametrize("reused", BOOLEANS)
def test_a_post_goes_to_no_third_worker_after_two_that_closed_without_an_answer(reused: bool) -> None:
    once = Step.SAME_WORKER if reused else Step.ANOTHER_WORKER
    assert step(Outcome.NOTHING_RECEIVED, reused=reused, others_left=True, silent=1) is once
    assert step(Outcome.NOTHING_RECEIVED, reused=reused, others_left=True, silent=2) is Step.GIVE_UP
    assert step(Outcome.NOTHING_RECEIVED, method="GET", reused=reused, others_left=True, silent=2) is once


@pytest.mark.parametrize("outcome", [Outcome.CONNECT_FAILED, Outcome.NOTHING_RECEIVED])
def test_a_worker_that_did_not_take_it(outcome: Outcome) -> None:
    assert step(outcome, others_left=True) is Step.ANOTHER_WORKER
    assert step(outcome, others_left=True, number=MAX - 1) is Step.ANOTHER_WORKER
    assert step(outcome, others_left=True, number=MAX) is Step.GIVE_UP
    assert step(outcome, others_left=True, budget_left=False) is Step.GIVE_UP
    assert step(outcome, wait=0.05) is Step.ANY_WORKER_LATER
    assert step(outcome, wait=0.05, number=MAX) is Step.GIVE_UP
    assert step(outcome, wait=0.05, budget_left=False) is Step.GIVE_UP
    assert step(outcome, wait=MAX_WAIT) is Step.ANY_WORKER_LATER
    assert step(outcome, wait=MAX_WAIT + 0.01) is Step.GIVE_UP
    assert step(outcome, wait=0.5, waited=MAX_WAIT - 0.49) is Step.GIVE_UP
    # Where there is somebody else, nobody waits, and a long wait is no reason to give up.
    assert step(outcome, wait=60.0, others_left=True) is Step.ANOTHER_WORKER


@pytest.mark.parametrize("status", sorted(RETRYABLE_STATUSES))
@pytest.mark.parametrize("method", METHODS)
def test_a_status_is_sent_again_only_if_no_engine_can_have_run_it(status: int, method: str) -> None:
    again = status in (408, 429, 503) or method in ("GET", "HEAD", "OPTIONS")
    assert may_be_sent_again(status, method) == again
    expected = Step.ANOTHER_WORKER if again else Step.GIVE_UP
    assert step(Outcome.STATUS, status=status, method=method, others_left=True) is expected


@pytest.mark.parametrize("status", [200, 204, 206, 301, 304, 400, 401, 404, 409, 413, 422, 501, 505])
@pytest.mark.parametrize("method", METHODS)
def test_any_other_status_is_an_answer(status: int, method: str) -> None:
    assert not may_be_sent_again(status, method)


def test_the_statuses_are_vllm_routers() -> None:
    assert set(RETRYABLE_STATUSES) == {408, 429, 500, 502, 503, 504}
    assert NOT_RUN_STATUSES < RETRYABLE_STATUSES


# --- everything ------------------------------------------------------------------------------------------


def test_a_broken_answer_is_never_sent_again() -> None:
    for attempt in everything():
        if attempt.outcome in (Outcome.BROKEN, Outcome.TRUNCATED):
            assert next_step(attempt, max_attempts=MAX) is Step.GIVE_UP


def test_the_whole_table() -> None:
    """What the table says, written once more and in another way: by what each step needs."""
    for attempt in everything():
        safe = attempt.method in SAFE_METHODS
        closed = attempt.outcome is Outcome.NOTHING_RECEIVED and (safe or attempt.silent < 2)
        idle_close = closed and attempt.reused
        not_run = (
            closed
            or attempt.outcome is Outcome.CONNECT_FAILED
            or (attempt.outcome is Outcome.HELD and (safe or (attempt.may_be_run_twice and attempt.silent < 2)))
            or (
                attempt.outcome is Outcome.STATUS
                and attempt.status in RETRYABLE_STATUSES
                and (attempt.status in NOT_RUN_STATUSES or safe)
            )
        )
        allowed = not_run and not idle_close and attempt.number < MAX and attempt.budget_left
        fits = attempt.waited + attempt.wait <= MAX_WAIT
        expected = {
            Step.SAME_WORKER: idle_close,
            Step.ANOTHER_WORKER: allowed and attempt.others_left,
            Step.ANY_WORKER_LATER: allowed and not attempt.others_left and fits,
        }
        chosen = [one for one, needed in expected.items() if needed] or [Step.GIVE_UP]
        assert [next_step(attempt, max_attempts=MAX)] == chosen, attempt


@pytest.mark.parametrize("max_attempts", [1, 2, 5])
@pytest.mark.parametrize("outcome", FAILURES)
@pytest.mark.parametrize("reused", BOOLEANS)
@pytest.mark.parametrize("others_left", BOOLEANS)
def test_a_request_that_always_fails_ends_after_few_attempts(
    max_attempts: int, outcome: Outcome, reused: bool, others_left: bool
) -> None:
    """Every attempt fails alike, each worker's first one on a connection that is `reused`."""
    number, fresh, in_a_row = 1, not reused, 0
    while True:
        attempt = Attempt(outcome, "POST", number, status=503, reused=not fresh, others_left=others_left)
        chosen = next_step(attempt, max_attempts=max_attempts)
        if chosen is Step.GIVE_UP:
            break
        in_a_row = in_a_row + 1 if chosen is Step.SAME_WORKER else 0
        assert in_a_row <= 1
        number += 1
        fresh = chosen is Step.SAME_WORKER or not reused
    # The one attempt that is free of the limit is the second one at a worker whose first was on a used connection.
    assert number <= max_attempts + 1
    if outcome in (Outcome.BROKEN, Outcome.TRUNCATED, Outcome.HELD):
        assert number == 1
    elif not reused:
        assert number == max_attempts


# --- pauses ----------------------------------------------------------------------------------------------


def test_pauses_grow_up_to_the_longest() -> None:
    pauses = [
        backoff(number, initial=0.05, longest=0.3, multiplier=2.0, jitter=0.2, draw=0.5) for number in range(1, 6)
    ]
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.3, 0.3])


@given(st.integers(1, 100), st.floats(0, 60), st.floats(0, 600), st.floats(1, 100), st.floats(0, 1), st.floats(0, 1))
def test_a_pause_is_within_its_jitter(
    number: int, initial: float, longest: float, multiplier: float, jitter: float, draw: float
) -> None:
    """Over all that the configuration takes: --retry-backoff-multiplier is at most 100, the attempts at most 100."""
    middle = backoff(number, initial=initial, longest=longest, multiplier=multiplier, jitter=jitter, draw=0.5)
    pause = backoff(number, initial=initial, longest=longest, multiplier=multiplier, jitter=jitter, draw=draw)
    assert 0 <= middle <= longest * (1 + 1e-9)
    assert middle * (1 - jitter) * (1 - 1e-9) - 1e-9 <= pause <= middle * (1 + jitter) * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b"1", 1.0),
        (b"120", 120.0),
        (b"999999999", 999999999.0),
        (b"1" * 400, 0.0),
        (b"", 0.0),
        (b"-1", 0.0),
        (b"1.5", 0.0),
        (b"soon", 0.0),
        (b"Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
        (b"\xb2", 0.0),
    ],
)
def test_what_a_worker_asks_to_wait(value: bytes, seconds: float) -> None:
    assert retry_after(value) == seconds


# --- budget ----------------------------------------------------------------------------------------------


def spend(budget: RetryBudget, now: float) -> int:
    """Take all there is; return how much that was."""
    taken = 0
    while budget.has_token(now):
        budget.take()
        taken += 1
    return taken


def test_a_quiet_plane_has_a_seconds_worth_and_gets_as_much_each_second() -> None:
    budget = RetryBudget(100.0)
    assert spend(budget, 100.0) == 10
    assert spend(budget, 100.0) == 0
    assert spend(budget, 100.05) == 0
    assert spend(budget, 101.0) == 10


def test_requests_allow_a_fifth_of_themselves() -> None:
    budget = RetryBudget(0.0)
    spend(budget, 0.0)
    for _ in range(50):
        budget.request()
    assert spend(budget, 0.0) in (9, 10)


def test_a_storm_is_bounded_however_long_it_was_quiet() -> None:
    budget = RetryBudget(0.0)
    assert spend(budget, 1e9) == 100
    for _ in range(10_000):
        budget.request()
    assert spend(budget, 1e9) == 100


def test_asking_costs_nothing() -> None:
    budget = RetryBudget(0.0)
    assert all(budget.has_token(0.0) for _ in range(100))
    assert spend(budget, 0.0) == 10


@given(st.lists(st.tuples(st.floats(0, 0.5), st.booleans()), max_size=200))
def test_retries_never_exceed_their_share(history: list[tuple[float, bool]]) -> None:
    """Each request wants a retry: over any history there are no more than the start, the share and the rate allow."""
    now, requests, retries = 0.0, 0, 0
    budget = RetryBudget(now)
    for passed, is_request in history:
        now += passed
        if is_request:
            requests += 1
            budget.request()
        if budget.has_token(now):
            budget.take()
            retries += 1
        assert retries <= 10 + 0.2 * requests + 10 * now + 1e-6


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        (Attempt(Outcome.CONNECT_FAILED, "POST", 1, others_left=True), None),
        (Attempt(Outcome.CONNECT_FAILED, "POST", 5, others_left=True), "attempts"),
        (Attempt(Outcome.CONNECT_FAILED, "POST", 1, others_left=True, budget_left=False), "budget"),
        (Attempt(Outcome.CONNECT_FAILED, "POST", 5, others_left=True, budget_left=False), "attempts"),
        (Attempt(Outcome.TRUNCATED, "POST", 5, others_left=True, budget_left=False), None),
        (Attempt(Outcome.CONNECT_FAILED, "POST", 5, waited=1e9), None),
    ],
)
def test_what_was_used_up_is_told_only_where_there_would_have_been_another_attempt(
    attempt: Attempt, expected: str | None
) -> None:
    assert denied(attempt, max_attempts=5) == expected
