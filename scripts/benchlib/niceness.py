"""A bench that is run by `nice` hands its niceness on to what it starts.

Where the scheduler groups processes by session (autogroup, sched(7)), a process's nice value counts only among those of
its session, and a router's processes have a session each. So each session's group gets the bench's value.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def hand_on(pids: Iterable[int]) -> None:
    """Give the groups of these processes the niceness of this one; where the system has none, do nothing."""
    nice = os.nice(0)
    if not nice:
        return
    for pid in pids:
        with suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(str(nice))
