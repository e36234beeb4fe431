"""When workers are read: at turns that some of them share, spread over the interval.

To wake up and to go through code that has left the processor's caches costs an idle process as much as reading a page:
of four workers that are read together each costs 0.95 ms, and 1.6 of four that are read one by one. Very many together
would hold up all else, so a turn has few. No clock; times are monotonic seconds.
"""

from __future__ import annotations

from math import ceil, floor

TOGETHER = 8
"""Workers of one turn: their pages take 5 ms in all."""


class Turn:
    """Comes again and again. `at` is one time at which it comes."""

    def __init__(self, at: float) -> None:
        self._at = at
        self.members = 0

    def first(self, now: float, earliest: float, interval: float) -> float:
        """Return the first time from `earliest` on at which it comes, each `interval` from the last time on."""
        # What has passed stays as it was when the interval becomes another one.
        self._at += max(0, floor((now - self._at) / interval)) * interval
        return self._at + max(0, ceil((earliest - self._at) / interval)) * interval


class Turns:
    """All of them, made as workers come."""

    def __init__(self, offset: float) -> None:
        """`offset` is the part of an interval (0..1) after which the first one comes: routers should not be alike."""
        self._offset = offset
        self._turns: list[Turn] = []

    def join(self, now: float, interval: float) -> Turn:
        """Return the turn of one more worker."""
        turn = next((one for one in self._turns if one.members < TOGETHER), None)
        if turn is None:
            turn = Turn(now + (self._offset + _spread(len(self._turns))) % 1.0 * interval)
            self._turns.append(turn)
        turn.members += 1
        return turn

    def leave(self, turn: Turn) -> None:
        """Take note that a worker of this turn is gone."""
        turn.members -= 1


def _spread(number: int) -> float:
    """Return where in an interval the turn of this number is: 0, 1/2, 1/4, 3/4, 1/8, ... (van der Corput, 1935)."""
    place, part = 0.0, 0.5
    while number:
        place += part * (number & 1)
        number >>= 1
        part /= 2
    return place
