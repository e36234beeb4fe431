"""Where a plane runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.placement import CALM, CROWDED, IDLE, CoreTimes, core_times, first_core, place, used_shares

STAT = """cpu  30 0 30 600 20 0 0 0 0 0
cpu0 10 1 20 300 15 2 3 4 0 0
cpu11 20 0 10 300 5 0 0 0 7 7
intr 12345
ctxt 99
"""


def test_busy_and_total_are_read_per_core() -> None:
    assert core_times(STAT) == {0: CoreTimes(40, 355), 11: CoreTimes(30, 335)}


def test_the_machine_this_runs_on_can_be_read() -> None:
    assert set(core_times(Path("/proc/stat").read_text())) >= os.sched_getaffinity(0)


def test_shares_are_those_of_the_time_between() -> None:
    before = {0: CoreTimes(10, 100), 1: CoreTimes(5, 100), 2: CoreTimes(0, 50)}
    now = {0: CoreTimes(60, 200), 1: CoreTimes(5, 200), 2: CoreTimes(0, 50), 3: CoreTimes(1, 2)}
    assert used_shares(before, now) == {0: 0.5, 1: 0.0}


def test_planes_begin_on_different_cores() -> None:
    assert [first_core([2, 3, 7], slot) for slot in range(5)] == [2, 3, 7, 2, 3]


shares = st.floats(0, 1)


@given(st.dictionaries(st.integers(0, 7), shares, min_size=1), st.floats(0, 1), st.integers(0, 20))
def test_a_plane_stays_until_others_crowd_its_core_and_moves_to_a_free_one_only(
    used: dict[int, float], own: float, slot: int
) -> None:
    for current in used:
        core = place(current, used, own, slot)
        if own < IDLE or used[current] - own < CROWDED:
            assert core == current
        elif core is None:
            assert min(used.values()) >= CALM
        else:
            assert used[core] == min(used.values()) < CALM


@given(st.dictionaries(st.integers(0, 7), shares, min_size=1), st.floats(0, 1), st.integers(0, 20))
def test_a_plane_without_a_core_takes_the_freest_once_others_are_calm(
    used: dict[int, float], own: float, slot: int
) -> None:
    core = place(None, used, own, slot)
    if own >= IDLE and (sum(used.values()) - own) / len(used) < CROWDED:
        assert core is not None
        assert used[core] == min(used.values())
    else:
        assert core is None


def test_planes_that_leave_together_spread() -> None:
    used = {0: 1.0, 1: 0.1, 2: 0.1, 3: 0.1}
    assert [place(0, used, 0.2, slot) for slot in range(4)] == [1, 1, 2, 3]


PROGRAM = """
import os, sys, threading
from dataplane.placement import Placement
os.sched_setaffinity(0, map(int, sys.argv[1:]))
end = threading.Event()
early = threading.Thread(target=end.wait); early.start()
Placement(1)
late = threading.Thread(target=end.wait); late.start()
threads = list(map(int, os.listdir("/proc/self/task")))
print({(*os.sched_getaffinity(thread), os.sched_getscheduler(thread) == os.SCHED_BATCH) for thread in threads})
end.set()
"""


@pytest.mark.parametrize("count", [1, 2])
def test_all_threads_of_a_process_stay_on_its_core(count: int) -> None:
    allowed = sorted(os.sched_getaffinity(0))[:count]
    if len(allowed) < count:
        pytest.skip("needs two cores")
    argv = [sys.executable, "-c", PROGRAM, *map(str, allowed)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == str({(allowed[-1], True)})
