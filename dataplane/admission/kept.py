"""Slots that are kept for a moment for whom they belonged to. No clock.

A client that asks again as soon as it is answered has nothing in the queue when its request ends. Given to somebody
else at once, its slot is gone for a whole request's time, however small the client's share is: who is never without
work is served before those who wait for their answers and then ask. So a slot of a tenant that uses no more than its
share is kept for it a moment, as disk schedulers do (anticipatory scheduling, Iyer and Druschel, 2001). What that may
cost is bounded: a moment is a small part of how long requests take, and nothing is kept for those who did not come back
lately.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from dataplane.admission.line import LaneKey

T = TypeVar("T")

PART = 0.05
"""Of the time that requests take: at most so much of a slot's time is lost."""
LONGEST = 0.1
"""Seconds that a slot is kept at most; a client that is far away takes as long to come back."""
_SMOOTH = 0.1
"""How much the newest request says of how long requests take, and of whether a tenant comes back."""
_COMES_BACK = 0.25
"""Nothing is kept for a tenant that comes back more rarely than so often."""
_MAX_TENANTS = 4096


class Kept(Generic[T]):
    """What is kept (a `T`), for whom, until when. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._kept: dict[LaneKey, deque[tuple[float, T]]] = {}
        self._returns: dict[LaneKey, float] = {}

    def __bool__(self) -> bool:
        return bool(self._kept)

    def took(self, seconds: float) -> None:
        """Know how long a request had its slot."""
        self._seconds += (seconds - self._seconds) * (_SMOOTH if self._seconds else 1.0)

    def keep(self, key: LaneKey, what: T, now: float) -> bool:
        """Keep something for a lane; False where it would not come for it."""
        returns = self._returns.get(key, 1.0)
        if returns < _COMES_BACK:
            # Now and then it is tried again.
            self._learn(key, min(1.0, returns + _SMOOTH * _SMOOTH))
            return False
        self._kept.setdefault(key, deque()).append((now + min(LONGEST, PART * self._seconds), what))
        return True

    def take(self, key: LaneKey) -> T | None:
        """Return what is kept for a lane, as one of its requests has come; None if nothing is."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        _, what = kept.popleft()
        if not kept:
            del self._kept[key]
        returns = self._returns.get(key, 1.0)
        self._learn(key, returns + (1.0 - returns) * _SMOOTH)
        return what

    def over(self, now: float) -> list[tuple[LaneKey, T]]:
        """Return what nobody came for in time."""
        found = []
        for key, kept in list(self._kept.items()):
            while kept and kept[0][0] <= now:
                found.append((key, kept.popleft()[1]))
                self._learn(key, self._returns.get(key, 1.0) * (1.0 - _SMOOTH))
            if not kept:
                del self._kept[key]
        return found

    def all(self) -> list[tuple[LaneKey, T]]:
        """Return all that is kept, and keep nothing more of it."""
        found = [(key, what) for key, kept in self._kept.items() for _, what in kept]
        self._kept.clear()
        return found

    def next_over(self) -> float | None:
        """Return when the next thing is kept no longer; None if nothing is."""
        return min((kept[0][0] for kept in self._kept.values()), default=None)

    def _learn(self, key: LaneKey, returns: float) -> None:
        if key not in self._returns and len(self._returns) >= _MAX_TENANTS:
            self._returns.clear()
        self._returns[key] = returns
