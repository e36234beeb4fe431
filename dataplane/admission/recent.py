"""How much was wanted of late: a counter that forgets. No clock."""

from __future__ import annotations

from collections import Counter
from math import inf

from dataplane.admission.line import Share

_WINDOW = 1.0
"""Seconds in which requests count as wanting a rate, or as refused."""


class Recent:
    """How many things happened in the last window, by class and tenant; the window before it counts, too."""

    __slots__ = ("_before", "_began", "_now")

    def __init__(self) -> None:
        self._before: Counter[Share] = Counter()
        self._now: Counter[Share] = Counter()
        self._began = -inf

    def add(self, share: Share, now: float, amount: int = 1) -> None:
        """Count one, or more."""
        self._turn(now)
        self._now[share] += amount

    def counts(self, now: float) -> Counter[Share]:
        """Return the counts of the present window and the one before."""
        self._turn(now)
        return self._before + self._now

    def _turn(self, now: float) -> None:
        if now - self._began >= _WINDOW:
            self._before = self._now if now - self._began < 2 * _WINDOW else Counter()
            self._now = Counter()
            self._began = now
