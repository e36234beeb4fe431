"""A clock that ticks at a fixed rate to some 0.1 ms, where uvloop's timers know only whole ms."""

import asyncio
import ctypes
import os
import time
from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def _timespec(seconds: float) -> _Timespec:
    return _Timespec(*divmod(int(seconds * 1e9), 1_000_000_000))


class Pacer:
    """Calls `on_tick(due)` `rate` times a second until closed; `due` on the clock of time.monotonic.

    A late call has an early `due`: no tick is left out. Made of a timerfd, by ctypes because the
    standard library has none before Python 3.13.
    """

    def __init__(self, rate: float, on_tick: Callable[[float], None]) -> None:
        self._on_tick = on_tick
        self._period = 1.0 / rate
        self._due = time.monotonic() + self._period
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        spec = _Itimerspec(_timespec(self._period), _timespec(self._due))
        if self._fd < 0 or libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None):
            raise OSError(ctypes.get_errno(), "cannot make a timer")
        asyncio.get_running_loop().add_reader(self._fd, self._ticked)

    def _ticked(self) -> None:
        try:
            ticks = int.from_bytes(os.read(self._fd, 8), "little")
        except BlockingIOError:
            return
        for _ in range(ticks):
            self._on_tick(self._due)
            self._due += self._period

    def close(self) -> None:
        """Stop ticking."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
