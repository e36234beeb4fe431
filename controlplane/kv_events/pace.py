"""How fast the events of all engines together are read: they must not keep the control plane from its heartbeat."""

from __future__ import annotations

WORK_PER_SECOND = 5000.0
"""Units of about 50 us: a quarter of a core."""
_BYTES_PER_UNIT = 2048
"""An event of 8,192 tokens has 35 KB and takes 0.9 ms; one of a single block costs little more than its socket."""
_BURST = 0.1
"""Seconds of work that may be done at once."""


class Pace:
    """A bucket that may go into debt: each message is taken in, and the next one waits. Times are monotonic seconds."""

    def __init__(self, now: float, work_per_second: float = WORK_PER_SECOND) -> None:
        self._rate = work_per_second
        self._left = work_per_second * _BURST
        self._at = now

    def wait_after(self, size: int, now: float) -> float:
        """Count a message of so many bytes; return the seconds until its reader may read another one."""
        self._left = min(self._rate * _BURST, self._left + (now - self._at) * self._rate)
        self._at = now
        self._left -= 1 + size / _BYTES_PER_UNIT
        return max(0.0, -self._left / self._rate)
