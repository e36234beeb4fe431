"""How fast requests end, and how long a client is told to wait. No clock."""

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


def retry_after(expected: float | None) -> int:
    """Return the whole seconds that a client is told to wait, where it would wait for so many."""
    return 1 if expected is None else min(LONGEST, max(1, math.ceil(expected)))
