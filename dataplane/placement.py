"""Which core a plane runs on: one for all of its threads, as long as nobody else needs that one.

A plane's threads hand each request to one another and share the interpreter's lock, so they hardly ever run at
the same time; on one core the hand-over is a cheap switch, between cores it wakes the other core each time. As
SCHED_BATCH threads (sched(7)) they do not interrupt one another either: each does all that has gathered, and then
the next one does. Measured: a quarter less CPU per request and streamed chunk, and more of both per second.

But a process that is bound to a core waits there for others while the next core is idle, and a SCHED_BATCH thread
waits for others' turns to end. So the plane looks each second, and where others crowd the cores it runs like any
other process: `place` is the rule. Measured on two cores that others use up, with 1,000 requests a second: 0.4 ms each
(the median) like any other process, 5 ms as SCHED_BATCH threads on both cores, 3 ms on one; a request cost a quarter
less CPU as SCHED_BATCH.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

logger = logging.getLogger(__name__)

IDLE = 0.05
"""The share of a core below which a plane stays as it is: it has nothing to gain, and nothing to judge by."""
CROWDED = 0.5
"""The share of a core's time that others use at which a plane leaves it, and the mean of all cores' below which
it binds itself again. A plane that has half of a core to itself is never crowded."""
CALM = 0.25
"""The used share of a core below which a plane moves there."""
_STAT = Path("/proc/stat")


class CoreTimes(NamedTuple):
    """Clock ticks of one core since boot."""

    busy: int
    total: int


def core_times(stat: str) -> dict[int, CoreTimes]:
    """Read the `cpuN` lines of /proc/stat (proc(5)): idle and iowait are the fourth and fifth figures."""
    found = {}
    for line in stat.splitlines():
        name, _, rest = line.partition(" ")
        if name.startswith("cpu") and name[3:].isdigit():
            ticks = [int(figure) for figure in rest.split()[:8]]
            total = sum(ticks)
            found[int(name[3:])] = CoreTimes(total - sum(ticks[3:5]), total)
    return found


def used_shares(before: Mapping[int, CoreTimes], now: Mapping[int, CoreTimes]) -> dict[int, float]:
    """Return the share of each core's time that was used between two readings, from 0 to 1."""
    shares = {}
    for core, times in now.items():
        if core in before and times.total > before[core].total:
            shares[core] = (times.busy - before[core].busy) / (times.total - before[core].total)
    return shares


def first_core(allowed: Sequence[int], slot: int) -> int:
    """Return the core that the plane in `slot` begins on; planes of one router spread over all."""
    return allowed[slot % len(allowed)]


def place(current: int | None, used: Mapping[int, float], own: float, slot: int) -> int | None:
    """Return the core to be bound to; None: to none.

    `used` is the share of each allowed core's time that was used, `own` what this process used of it (1 is one
    core's whole time), `current` where it was bound. Planes begin their search at different cores, so that not
    all choose the same one among equally free ones.
    """
    if own < IDLE:
        return current
    cores = sorted(used)
    start = slot % len(cores)
    best = min((*cores[start:], *cores[:start]), key=lambda core: used[core])
    if current is None:
        return best if (sum(used.values()) - own) / len(cores) < CROWDED else None
    if used.get(current, 0.0) - own < CROWDED:
        return current
    return best if used[best] < CALM else None


class Placement:
    """Keeps the process where `place` says. Where the system does not allow it, it runs as the scheduler likes."""

    def __init__(self, slot: int) -> None:
        """Go to the first core. To be called before the process starts threads: they begin where it is."""
        self._slot = slot
        self._allowed = sorted(os.sched_getaffinity(0))
        self._core: int | None = None
        self._since = time.monotonic()
        self._own = time.process_time()
        self._times = self._read()
        self._bind(first_core(self._allowed, slot))

    def adjust(self) -> None:
        """Look whether others need the core. To be called about once a second."""
        now, own, times = time.monotonic(), time.process_time(), self._read()
        used = used_shares(self._times, times)
        share = (own - self._own) / (now - self._since)
        self._since, self._own, self._times = now, own, times
        if used:
            self._bind(place(self._core, used, share, self._slot))

    def _read(self) -> dict[int, CoreTimes]:
        try:
            times = core_times(_STAT.read_text())
        except OSError:
            times = {}
        return {core: times[core] for core in self._allowed if core in times}

    def _bind(self, core: int | None) -> None:
        if core == self._core:
            return
        try:
            policy = os.SCHED_OTHER if core is None else os.SCHED_BATCH
            for thread in map(int, os.listdir("/proc/self/task")):
                os.sched_setaffinity(thread, self._allowed if core is None else {core})
                os.sched_setscheduler(thread, policy, os.sched_param(0))
        except OSError as error:
            # A thread that has ended meanwhile is one cause; the next look tries again.
            logger.debug("can not move to core %s: %s", core, error.strerror)
            return
        logger.debug("bound to %s", "no core" if core is None else f"core {core}")
        self._core = core
