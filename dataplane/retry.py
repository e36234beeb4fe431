"""How an attempt can end, and when the request may be sent again: one pure function.

    outcome            connection  another worker left   next
    -----------------  ----------  --------------------  ------------------------------------------------
    connect failed     -           yes                   another worker
    nothing received   reused      (any)                 the same worker, on a fresh connection
    nothing received   fresh       yes                   another worker
    broken, truncated  (any)       (any)                 give up: an engine may have run it
    (any)              (any)       no, or 5 tried        give up

A reused connection that closes without a byte was closed by the worker's keep-alive timer while the
request was on its way: the worker never read it, and is not at fault.
"""

from __future__ import annotations

from enum import Enum

MAX_ATTEMPTS = 5
"""Workers tried for one request, as vllm-router's `--retry-max-retries` default."""


class Outcome(Enum):
    """How an attempt ended."""

    COMPLETE = "complete"
    CONNECT_FAILED = "connect-failed"
    NOTHING_RECEIVED = "closed-before-answer"
    """The connection was closed before any byte of an answer: the request may not even have been read."""
    BROKEN = "broken"
    """The answer broke off before anything of it was sent to the client."""
    TRUNCATED = "truncated"
    """The answer broke off after its beginning went to the client."""


class Step(Enum):
    """What to do next."""

    SAME_WORKER = "same-worker"
    """Once more, on a fresh connection."""
    ANOTHER_WORKER = "another-worker"
    GIVE_UP = "give-up"


def next_step(outcome: Outcome, *, reused: bool, tried: int, others_left: bool) -> Step:
    """Return the step after an attempt that did not complete; `tried` counts workers, this one included."""
    if outcome is Outcome.NOTHING_RECEIVED and reused:
        return Step.SAME_WORKER
    if outcome in (Outcome.CONNECT_FAILED, Outcome.NOTHING_RECEIVED) and others_left and tried < MAX_ATTEMPTS:
        return Step.ANOTHER_WORKER
    return Step.GIVE_UP
