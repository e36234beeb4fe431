"""How fast requests end, and when a client that is refused is told to come back. No clock."""

from __future__ import annotations

import math
from collections import deque

_WINDOW = 10.0
"""Seconds that the pace is taken over: several answers of a busy engine."""
_MOST = 1024
LONGEST = 60
"""Seconds that a client is told to wait at most: a queue that is slower may get faster."""


class Pace:
    """Remembers when requests ended. Times are monotonic seconds."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends: deque[float] = deque(maxlen=_MOST)

    def moved(self, now: float) -> None:
        """Count one that has ended."""
        self._ends.append(now)

    def per_second(self, now: float) -> float:
        """Return how many end in a second; 0 where none has of late."""
        ends = self._ends
        while ends and now - ends[0] > _WINDOW:
            ends.popleft()
        return len(ends) / max(now - ends[0], 0.001) if ends else 0.0


class Returns:
    """When those come back that were refused, if they do as they are told: as many in a second as places become free.

    The first comes when all that wait now have gone on, each other one behind it. Told the same, they would all come
    back together, to be refused together.
    """

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = 0.0

    def promise(self, expected: float, step: float, now: float) -> float:
        """Return the seconds that one more is to wait: `expected` at least, and `step` longer than the one before."""
        when = max(self._next, now + expected)
        self._next = min(when + step, now + LONGEST)
        return when - now


def retry_after_ms(expected: float | None) -> int | None:
    """Return the milliseconds that a client is told to wait; None where nothing is known."""
    return None if expected is None else min(LONGEST * 1000, max(1, math.ceil(expected * 1000)))


def retry_after(expected: float | None) -> int:
    """Return the whole seconds that a client is told to wait, where it would wait for so many."""
    return 1 if expected is None else min(LONGEST, max(1, math.ceil(expected)))
