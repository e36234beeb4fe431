"""What a client is told of its key's own limits: OpenAI's header fields, and its answer to whoever is over one.

OpenAI's guide on rate limits has the fields; their times are written as Go writes durations.
"""

from __future__ import annotations

from dataplane.admission.gate import OverOwn
from dataplane.admission.key_limits import KeyLimits, need_of
from dataplane.admission.pace import retry_after
from dataplane.admission.window import Window
from shared.errors import RouterError, rate_limited
from shared.limits import OPEN, REQUESTS

_REQUESTS = (b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-requests")
_TOKENS = (b"x-ratelimit-limit-tokens", b"x-ratelimit-remaining-tokens", b"x-ratelimit-reset-tokens")


def rate_fields(limits: KeyLimits, planes: int, now: float) -> list[tuple[bytes, bytes]]:
    """Return the fields of an answer to a key with such limits, among so many planes."""
    fields: list[tuple[bytes, bytes]] = []
    for names, window in ((_REQUESTS, limits.requests), (_TOKENS, limits.tokens)):
        if window is not None:
            limit, left, reset = names
            fields += (
                (limit, b"%d" % window.limit.amount),
                (left, b"%d" % remaining(window, planes)),
                (reset, duration(window.empty_in(now))),
            )
    return fields


def remaining(window: Window, planes: int) -> int:
    """Return what is left of a window on all planes, as one of them knows it.

    What nobody needs is spread evenly, so the others have as much room as this one; with one plane it is exact.
    """
    room = (window.allowed - window.in_use) * planes
    return max(0, min(room, window.limit.amount - window.in_use))


def duration(seconds: float) -> bytes:
    """Return a time as Go writes it: `20ms`, `1.5s`, `6m0s`, in whole milliseconds, rounded up."""
    milliseconds = -int(-seconds * 1000 // 1)
    if 0 < milliseconds < 1000:
        return b"%dms" % milliseconds
    minutes, rest = divmod(milliseconds, 60_000)
    text = b"%gs" % (rest / 1000)
    if not minutes:
        return text
    return b"%dm%b" % (minutes, text) if minutes < 60 else b"%dh%dm%b" % (*divmod(minutes, 60), text)


def over_own(over: OverOwn, planes: int) -> RouterError:
    """Return the answer to a request that is over a limit of its key, as OpenAI words it."""
    quota, use = over.quota, over.use
    limit, amount = quota.limit, need_of(quota, use)
    name = use.limits.name
    if limit.name.endswith(OPEN):
        text = f"The key {name} may have {limit.amount} requests open at a time (max_concurrent_requests), and has."
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
