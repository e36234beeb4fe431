"""The one word for how a worker stands, the same wherever people look. Pure."""

from __future__ import annotations

READY = "ready"
"""It may get requests now. One whose breaker leaves it out, or only tries it, is not, whatever its checks say."""
BREAKER = "breaker "
"""What the word of one begins with that its checks call ready, and its breaker does not."""


def condition(state: str, breaker: str, *, is_drained: bool) -> str:
    """Return a worker's state, or what says more: `drained`, and of one that is ready `breaker open` or `half-open`."""
    if state == READY and breaker != "closed":
        return f"{BREAKER}{breaker}"
    return "drained" if is_drained else state
