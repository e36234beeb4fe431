"""The wall clock is set by an hour, forwards and back, under a whole router: only what is shown to people moves."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest

from controlplane.last_known_good import read_table
from shared.table import RoutingTable
from tests.faults.load import Load
from tests.integration.routers import Router, eventually, samples, simulated_fleet

HOUR = 3600


@pytest.fixture
def set_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Moves the wall clock of every process that is started from here on to so many seconds off the machine's."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler (cc) for the library that moves a process' clock")
    library, offset = tmp_path / "wall_clock.so", tmp_path / "offset"
    source = Path(__file__).with_name("wall_clock.c")
    compiled = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, source], capture_output=True, text=True
    )
    if compiled.returncode:
        pytest.skip(f"the library that moves a process' clock can not be made here: {compiled.stderr.strip()}")

    def put(seconds: int) -> None:
        with open(offset, "r+b" if offset.exists() else "wb") as file:
            file.write(struct.pack("l", seconds))

    put(0)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("WALL_CLOCK", str(offset))
    return put


def table(router: Router) -> RoutingTable:
    found = read_table(router.runtime)
    assert found is not None
    return found


def more(load: Load, count: int) -> None:
    goal = load.total + count
    eventually(lambda: load.total >= goal or bool(load.failed), f"{count} more answers")


def hours_off(router: Router) -> int:
    """The router's wall clock, as its answers show it, in hours before ours."""
    answer = httpx.get(f"{router.url}/liveness", trust_env=False)
    return round((parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()) / HOUR)


def test_a_clock_set_by_an_hour_moves_nothing(tmp_path: Path, set_clock: Callable[[int], None]) -> None:
    with simulated_fleet(tmp_path, 3, "--time-scale=0", "--record=0") as workers:
        router = Router(
            tmp_path,
            "--data-planes=2",
            "--health-check-interval-secs=1",
            "--cb-window-duration-secs=2",
            "--worker-urls",
            *workers,
        )
        try:
            router.start().ready()
            eventually(lambda: {one.state for one in table(router).workers.values()} == {"ready"}, "the fleet")
            eventually(lambda: all(one.process_start for one in table(router).workers.values()), "all to be read")
            before = table(router)
            processes = (router.control_plane_pid(), router.plane_pids())
            with Load(router.url, 4) as load:
                set_clock(HOUR)
                # Back it would be no proof: the HTTP server shows the last date until it has passed again.
                eventually(lambda: hours_off(router) == 1, "the clock to be another")
                for offset in (HOUR, -HOUR, 0):
                    set_clock(offset)
                    more(load, 300)
                    # A look at every worker, a reading of every page, a report of every plane.
                    scrapes = samples(router)["routerctl_accepted_requests_total"]
                    eventually(
                        lambda: samples(router)["routerctl_accepted_requests_total"] > scrapes + 100,  # noqa: B023
                        "reports of the planes",
                    )
                    assert table(router).stamp == before.stamp
                assert (router.control_plane_pid(), router.plane_pids()) == processes

                # Nor does it matter to the next control plane, to the next plane and to the next supervisor.
                for offset in (HOUR, -HOUR):
                    set_clock(offset)
                    epoch = table(router).stamp.epoch
                    control_plane = router.control_plane_pid()
                    assert control_plane is not None
                    os.kill(control_plane, 9)
                    eventually(lambda: table(router).stamp.epoch > epoch, "another control plane's table")  # noqa: B023
                    eventually(lambda: is_level(router), "the planes to follow")
                    more(load, 100)
                router.kill_supervisor()
                router.start().ready()
                eventually(lambda: is_level(router), "the planes to follow")
                more(load, 100)
            assert load.failed == []
            assert {one.id: (one.state, one.epoch, one.breaker) for one in table(router).workers.values()} == {
                one.id: ("ready", one.epoch, None) for one in before.workers.values()
            }
            assert router.plane_pids() == processes[1]
        finally:
            router.close()


def is_level(router: Router) -> bool:
    """Whether both planes serve from the control plane's table."""
    try:
        status = httpx.get(f"http://127.0.0.1:{router.admin_port}/status", trust_env=False).json()
    except httpx.TransportError:
        return False
    wanted = status["control_plane"]["table"]
    return [plane["table"] for plane in status["planes"]] == [wanted, wanted]
