"""What a client is told of its key's own limits: OpenAI's header fields, and its answer to whoever is over one.

OpenAI's guide on rate limits has the fields; their times are written as Go writes durations.
"""

from __future__ import annotations

from dataplane.admission.key_limits import KeyLimits, need_of
from dataplane.admission.pace import retry_after
from dataplane.admission.refused import OverOwn
from dataplane.admission.window import Window
from shared.errors import RouterError
from shared.limit_errors import rate_limited
from shared.limits import OPEN, REQUESTS, WINDOW, WINDOW_STEP


def rate_fields(limits: KeyLimits, planes: int, now: float) -> list[tuple[bytes, bytes]]:
    """Return the fields of an answer to a key with such limits, among so many planes."""
    fields: list[tuple[bytes, bytes]] = []
    for window, limit, left, reset in limits.told:
        fields += (limit, (left, b"%d" % remaining(window, planes)), (reset, duration(window.empty_in(now))))
    return fields


def remaining(window: Window, planes: int) -> int:
    """Return what is left of a window on all planes, as one of them knows it.

    What nobody needs is spread evenly, so the others have as much room as this one; with one plane it is exact.
    """
    in_use, left = window.in_use, (window.allowed - window.in_use) * planes
    most = window.limit.amount - in_use
    if left > most:
        left = most
    return left if left > 0 else 0


def _as_go_writes(seconds: int) -> bytes:
    minutes, rest = divmod(seconds, 60)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest


_DURATIONS = tuple(_as_go_writes(seconds) for seconds in range(round(WINDOW + WINDOW_STEP) + 2))


def duration(seconds: float) -> bytes:
    """Return a time within a window as Go writes it, rounded up: `20ms` of less than a second, else `1s`, `1m0s`."""
    if 0.0 < seconds <= 0.999:
        return b"%dms" % (int(seconds * 1000) + 1)
    return _DURATIONS[int(seconds + 0.9999)]


def over_own(over: OverOwn, planes: int) -> RouterError:
    """Return the answer to a request that is over a limit of its key, as OpenAI words it."""
    quota, use = over.quota, over.use
    limit, amount = quota.limit, need_of(quota, use)
    name = use.limits.name
    if limit.name.endswith(OPEN):
        most = f"{limit.amount} {'request' if limit.amount == 1 else 'requests'}"
        text = f"The key {name} may have {most} open at a time (max_concurrent_requests), and has."
        return rate_limited(text, retry_after(over.expected), "requests")
    what = "requests" if limit.name.endswith(REQUESTS) else "tokens"
    setting = f"{what}_per_minute"
    if amount > limit.amount:
        text = (
            f"The request is too large for the key {name}: its prompt and the most that it asks for are {amount} "
            f"tokens, and the key has {limit.amount} per minute ({setting}). Ask for less, or have the limit raised."
        )
        return rate_limited(text, 0, what, is_final=True)
    used = limit.amount - remaining(quota, planes) if isinstance(quota, Window) else quota.in_use
    text = (
        f"Rate limit reached for the key {name} on {what} per minute ({setting}): Limit {limit.amount}, Used {used}, "
        f"Requested {amount}."
    )
    return rate_limited(text, retry_after(over.expected), what)
