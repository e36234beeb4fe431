"""What a client is told whose request finds no room in the fleet's limits, and may not wait, or not for longer."""

from __future__ import annotations

from dataplane.admission.pace import retry_after, retry_after_ms
from dataplane.admission.refused import Refused
from dataplane.admission.ticket import Ticket
from shared.errors import RouterError
from shared.limit_errors import over_capacity, rate_limited
from shared.limits import MODEL, RATE_UNIT


def refusal(refused: Refused, ticket: Ticket, waiting: int | None) -> RouterError:
    """Return the answer to a request that is refused; so many wait in its plane, None: nobody may."""
    error = _over(refused, ticket, waiting)
    error.retry_after_ms = retry_after_ms(refused.expected)
    return error


def _over(refused: Refused, ticket: Ticket, count: int | None) -> RouterError:
    seconds = retry_after(refused.expected)
    waiting = "none may wait (--queue-size)"
    if count is not None:
        waiting = f"{count} more {'waits' if count == 1 else 'wait'} already in this plane (--queue-size)"
    if refused.is_too_long:
        what = f"The request may wait {ticket.patience:g} s for its turn (x-routerctl-queue-timeout-secs)"
        return over_capacity(f"{what}, and its turn is not thought to come in that time.", seconds)
    if refused.quota is None:
        what = "All workers that can take it have as many requests as they may (max_concurrent_requests)"
        return over_capacity(f"{what}, and {waiting}.", seconds)
    limit = refused.quota.limit
    if limit.kind == "rate":
        per_second = limit.amount / RATE_UNIT
        what = f"More than {per_second:g} requests per second come (--rate-limit-tokens-per-second), and {waiting}."
        return rate_limited(what, seconds)
    allowed = refused.quota.allowed
    # Others may have room left, of which this plane gets a part only when it is asked for.
    share = f"All {limit.amount}" if allowed >= limit.amount else f"This plane's {allowed} of {limit.amount}"
    requests, are = "requests", "are"
    if allowed >= limit.amount == 1:
        share, requests, are = "The 1", "request", "is"
    if limit.name.startswith(MODEL):
        model = limit.name.removeprefix(MODEL)
        what = f"{share} {requests} for `{model}` that may be open at a time {are} (--model-max-concurrent-requests)"
    else:
        what = f"{share} {requests} that may be open at a time {are} (--max-concurrent-requests)"
    return over_capacity(f"{what}, and {waiting}.", seconds)
