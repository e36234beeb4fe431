"""The one clock that decisions read. Tests replace it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Gives the time; never waits."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment, never going back: for durations and deadlines."""
        ...

    def wall(self) -> float:
        """Unix time in seconds: only to show to people."""
        ...


class SystemClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Seconds, from CLOCK_MONOTONIC."""
        return time.monotonic()

    def wall(self) -> float:
        """Unix time in seconds."""
        return time.time()
