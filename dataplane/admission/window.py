"""What a plane may use of a window: at most so much, requests or tokens, in any `WINDOW` seconds.

What is taken is held for `WINDOW` seconds from the end of the step in which it was taken, so it is known in 61 numbers
and never counts for less than that time. It is slots for whoever lends parts of it. No clock.
"""

from __future__ import annotations

from collections import Counter, deque
from math import ceil, inf

from dataplane.admission.line import Share
from dataplane.admission.recent import Recent
from shared.limits import TAKEN_STEP, WINDOW, WINDOW_STEP, Limit, Taken

NOBODY: Share = (0, "")
"""Whose share a window's needs are: a key has one for itself."""
_HELD = WINDOW + WINDOW_STEP


class Window:
    """What was taken in the last seconds. `allowed` is how much that may be; debts can make `in_use` more."""

    __slots__ = ("_out", "_steps", "allowed", "in_use", "limit", "refused")

    def __init__(self, limit: Limit) -> None:
        """Begin with nothing taken and nothing allowed."""
        self.limit = limit
        self.allowed = 0
        self.in_use = 0
        # When each step began, and what was taken in it; and when the first of them is out.
        self._steps: deque[list[int]] = deque()
        self._out = inf
        self.refused = Recent()

    def allow(self, amount: int, now: float) -> None:
        """Go by another amount."""
        self.allowed = amount
        self.pass_on(now)

    def pass_on(self, now: float) -> None:
        """Let go of what was taken too long ago to count."""
        steps = self._steps
        while now >= self._out:
            self.in_use -= steps.popleft()[1]
            self._out = steps[0][0] + _HELD if steps else inf

    def has_room(self, amount: int, now: float) -> bool:
        """Whether so much may be taken."""
        if now >= self._out:
            self.pass_on(now)
        return self.in_use + amount <= self.allowed

    def take(self, amount: int, now: float) -> None:
        """Take so much, also where there is no room for it: that is a debt, which counts like the rest."""
        step, steps = int(now), self._steps
        self.in_use += amount
        if steps and steps[-1][0] >= step:
            steps[-1][1] += amount
            return
        if not steps:
            self._out = step + _HELD
        steps.append([step, amount])

    def give_back(self, amount: int, taken: float) -> None:
        """Give back what was taken at some moment and not used; what is out of the window has been given back."""
        step, steps = int(taken), self._steps
        for index in range(len(steps) - 1, -1, -1):
            began, there = steps[index]
            if began <= step:
                if began == step:
                    steps[index][1] = there - amount
                    self.in_use -= amount
                return

    def room_in(self, amount: int, now: float) -> float:
        """Return in how many seconds there is room for so much if nothing more is taken, or given back.

        For more than is allowed at all: when the window is empty.
        """
        self.pass_on(now)
        excess = self.in_use + amount - self.allowed
        if excess <= 0:
            return 0.0
        for began, there in self._steps:
            excess -= there
            if excess <= 0:
                return began + _HELD - now
        return self.empty_in(now)

    def empty_in(self, now: float) -> float:
        """Return in how many seconds nothing that was taken so far counts any more."""
        return max(0.0, self._steps[-1][0] + _HELD - now) if self._steps else 0.0

    def taken(self, now: float) -> Taken:
        """Return what counts, and for how long."""
        self.pass_on(now)
        left: Counter[int] = Counter()
        for began, there in self._steps:
            left[ceil((began + _HELD - now) / TAKEN_STEP)] += there
        return {steps: amount for steps, amount in left.items() if amount > 0}

    def needs(self, waiting: Counter[Share], now: float) -> tuple[dict[str, int], ...]:
        """Return what could be used, by class and tenant, where so much waits."""
        self.pass_on(now)
        wanted = self.in_use + waiting.total() + self.refused.counts(now).total()
        return ({NOBODY[1]: wanted}, {}) if wanted else ({}, {})
