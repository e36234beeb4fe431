"""How an attempt can end, and when the request may be sent again: one pure function over plain values.

`next_step` reads as this table; the first row that fits decides.

    outcome            when                                          next
    -----------------  --------------------------------------------  ------------------------------------------
    broken, truncated  any                                           give up: an engine may have run it
    held               to a method that is not safe                  give up, unless it may be run twice
    held, nothing      to a method that is not safe, at 2 workers    give up: the request may be what kills them
    received
    nothing received   on a connection that was used before          the same worker, on a fresh connection
    status             not in 408 429 500 502 503 504                (no failure: passed on)
    status             500 502 504 to a method that is not safe      pass it on, if not in `not_run`: it may have run
    (any other)        as many attempts as allowed were made         give up
    (any other)        the retry budget is empty                     give up
    (any other)        a worker is left that was not tried           that one, at once
    (any other)        none is left, the wait fits                   any worker, after a pause
    (any other)        none is left, the wait does not fit           give up

A reused connection that closes without a byte was closed by the worker's keep-alive timer while the
request was on its way: the worker never read it, and is not at fault. Only this retry is free of budget, and it
does not count as an attempt. A worker that held the request for longer than that takes may have run it. One half of
a request that two workers share may be run twice: nothing of it has gone to the client, and what needs two workers is
not to be lost with either.

To give up on a status means to pass the worker's own answer on to the client.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

from dataplane.token_bucket import TokenBucket
from shared.messages import EvidenceKind

RETRYABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""As vllm-router's."""
NOT_RUN_STATUSES = frozenset({408, 429, 503})
"""Statuses that say that the request was refused, not run: a POST may go to another worker."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_WAIT = 1.0
"""Seconds that one request may spend in pauses between attempts. A longer Retry-After is the client's to heed."""


AT_ONCE = 1.0
"""Seconds within which a connection is closed that the worker had given up before the request reached it."""
MOST_SILENT = 2
"""Workers that may close without an answer to one POST: a request that ends engines must not end the fleet."""


class Outcome(Enum):
    """How an attempt ended."""

    COMPLETE = "complete"
    CONNECT_FAILED = "connect-failed"
    NOTHING_RECEIVED = "closed-before-answer"
    """The connection was closed before any byte of an answer: the request may not even have been read."""
    HELD = "closed-after-a-while"
    """The same, more than `AT_ONCE` after the request was sent: it was read."""
    STATUS = "status"
    """The answer began with one of `RETRYABLE_STATUSES`; nothing of it was sent to the client."""
    BROKEN = "broken"
    """The answer broke off before anything of it was sent to the client."""
    TRUNCATED = "truncated"
    """The answer broke off after its beginning went to the client."""


EVIDENCE: dict[Outcome, EvidenceKind] = {
    Outcome.CONNECT_FAILED: "connect-failed",
    Outcome.NOTHING_RECEIVED: "closed-before-answer",
    Outcome.HELD: "closed-before-answer",
    Outcome.BROKEN: "bad-answer",
    Outcome.TRUNCATED: "bad-answer",
}
"""What an outcome says against its worker. What a status says depends on which (`dataplane.breaker`)."""


class Step(Enum):
    """What to do next."""

    SAME_WORKER = "same-worker"
    """At once, on a fresh connection."""
    ANOTHER_WORKER = "another-worker"
    """At once, one that was not tried."""
    ANY_WORKER_LATER = "any-worker-later"
    """After a pause; the last one only if it is alone."""
    GIVE_UP = "give-up"


@dataclass(frozen=True)
class Attempt:
    """An attempt that did not complete, and what is left.

    `number` counts attempts, this one included; `wait` is the pause in seconds that would come before the
    next one, `waited` the sum of those before. `silent` counts the workers that closed without an answer. `not_run` are
    the statuses that say that the request was not run. `may_be_run_twice`: it is sent again though an engine may have
    run it.
    """

    outcome: Outcome
    method: str
    number: int
    status: int = 0
    reused: bool = False
    others_left: bool = False
    budget_left: bool = True
    wait: float = 0.0
    waited: float = 0.0
    silent: int = 1
    not_run: frozenset[int] = NOT_RUN_STATUSES
    may_be_run_twice: bool = False


def next_step(attempt: Attempt, *, max_attempts: int) -> Step:
    """Return the step, by the table above."""
    outcome = attempt.outcome
    may_be_run = attempt.method not in SAFE_METHODS
    if outcome in (Outcome.BROKEN, Outcome.TRUNCATED):
        return Step.GIVE_UP
    if outcome is Outcome.HELD and may_be_run and not attempt.may_be_run_twice:
        return Step.GIVE_UP
    if outcome in (Outcome.NOTHING_RECEIVED, Outcome.HELD) and may_be_run and attempt.silent >= MOST_SILENT:
        return Step.GIVE_UP
    if outcome is Outcome.NOTHING_RECEIVED and attempt.reused:
        return Step.SAME_WORKER
    if outcome is Outcome.STATUS and not may_be_sent_again(attempt.status, attempt.method, attempt.not_run):
        return Step.GIVE_UP
    if attempt.number >= max_attempts or not attempt.budget_left:
        return Step.GIVE_UP
    if attempt.others_left:
        return Step.ANOTHER_WORKER
    if attempt.waited + attempt.wait <= MAX_WAIT:
        return Step.ANY_WORKER_LATER
    return Step.GIVE_UP


def denied(attempt: Attempt, *, max_attempts: int) -> Literal["attempts", "budget"] | None:
    """Return what was used up where `next_step` gives up although the failure would allow another attempt."""
    if attempt.number < max_attempts and attempt.budget_left:
        return None
    free = replace(attempt, budget_left=True)
    if next_step(free, max_attempts=attempt.number + 1) is Step.GIVE_UP:
        return None
    return "attempts" if attempt.number >= max_attempts else "budget"


def may_be_sent_again(status: int, method: str, not_run: frozenset[int] = NOT_RUN_STATUSES) -> bool:
    """Whether a worker's status allows another attempt."""
    return status in not_run or (status in RETRYABLE_STATUSES and method in SAFE_METHODS)


def backoff(number: int, *, initial: float, longest: float, multiplier: float, jitter: float, draw: float) -> float:
    """Return the pause after attempt `number` (from 1), in seconds: vllm-router's formula.

    initial * multiplier**(number - 1), at most `longest`, then up to `jitter` of itself more or less;
    `draw` is a random number from 0 to 1.
    """
    pause: float = min(initial * multiplier ** (number - 1), longest)
    return pause * (1 + jitter * (2 * draw - 1))


def retry_after(value: bytes) -> float:
    """Return the seconds that a `Retry-After` field asks for; 0 for a date or anything else."""
    return float(value) if value.isdigit() and len(value) < 10 else 0.0


class RetryBudget(TokenBucket):
    """Retries may add a fifth to a plane's requests, and 10 a second so that a quiet plane can retry at all.

    Each request puts 0.2 tokens in, each second 10, a retry takes one; it holds 100 at most, so a storm after a
    quiet time is bounded, too. Without it, retries multiply the load on a fleet that is failing.
    """

    SHARE = 0.2
    PER_SECOND = 10.0
    MOST = 100.0

    def __init__(self, now: float) -> None:
        """Begin with one second's worth; times are in seconds on any one clock."""
        super().__init__(now, tokens=self.PER_SECOND, per_second=self.PER_SECOND, most=self.MOST)

    def request(self) -> None:
        """Count a request of a client."""
        if self._tokens < self._most:
            self.add(self.SHARE)
