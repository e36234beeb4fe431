"""Processes that are stopped in their tracks: replaced after the limit, as good as before when they go on in time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.faults.hard_clients import HardClients
from tests.integration.routers import Router, eventually, router_before, simulated_fleet

STOPS = [12.0, 31.0]


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with simulated_fleet(tmp_path_factory.mktemp("fleet"), 2, "--record=0", "--time-scale=0") as urls:
        yield urls


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory, workers: list[str]) -> Iterator[Router]:
    """One of two planes that calls a process hung after 3 s; each test leaves it whole."""
    with router_before(tmp_path_factory.mktemp("router"), workers, "--hung-plane-secs=3", planes=2) as one:
        yield one


def shown(router: Router) -> dict[int, str]:
    planes = httpx.get(f"http://127.0.0.1:{router.admin_port}/planes", trust_env=False).json()["planes"]
    return {plane["pid"]: plane["state"] for plane in planes}


def said(router: Router, pid: int, text: str) -> bool:
    return any(f"(pid {pid}) {text}" in line for line in router.supervisor_lines)


def test_a_hung_plane_is_replaced(router: Router) -> None:
    before = router.plane_pids()
    hung = min(before)
    eventually(lambda: set(shown(router)) == before, "both planes to report")
    os.kill(hung, signal.SIGSTOP)
    eventually(lambda: said(router, hung, "has not answered for"), "it to be noticed")
    eventually(lambda: hung not in router.plane_pids() and len(router.plane_pids()) == 2, "another plane")
    (new,) = router.plane_pids() - before
    eventually(lambda: said(router, new, "serves"), "the log to say that it serves")
    with HardClients(router.port, new=4) as load:
        eventually(lambda: load.total > 100, "answers from the planes that are there")
    assert load.failed == []


def test_a_hung_plane_of_an_earlier_supervisor_is_replaced(tmp_path: Path, workers: list[str]) -> None:
    with router_before(tmp_path, workers, "--hung-plane-secs=3", planes=1) as router:
        (hung,) = router.plane_pids()
        router.kill_supervisor()
        router.start().ready()
        os.kill(hung, signal.SIGSTOP)
        eventually(lambda: hung not in router.plane_pids() and len(router.plane_pids()) == 1, "another plane")


@pytest.mark.slow
@pytest.mark.parametrize("seconds", STOPS)
def test_a_plane_that_goes_on_in_time_is_told_of_and_kept(tmp_path: Path, workers: list[str], seconds: float) -> None:
    """It missed a change of the table meanwhile, and has it soon after."""
    with router_before(tmp_path, workers, planes=2) as router:
        before = router.plane_pids()
        paused = min(before)
        eventually(lambda: set(shown(router)) == before, "both planes to report")
        os.kill(paused, signal.SIGSTOP)
        began = time.monotonic()
        try:
            eventually(lambda: said(router, paused, "is hung"), "it to be told")
            eventually(lambda: shown(router)[paused] == "hung", "it to be shown")
            url = f"http://127.0.0.1:{router.admin_port}/workers/{workers[0].replace('/', '%2F')}/drain"
            httpx.post(url, trust_env=False, timeout=30).raise_for_status()
            time.sleep(max(0.0, began + seconds - time.monotonic()))
        finally:
            os.kill(paused, signal.SIGCONT)
        eventually(lambda: said(router, paused, "answers again"), "it to be back")
        eventually(lambda: shown(router) == dict.fromkeys(before, "serving"), "it to serve")
        tables = {
            (plane["table"]["epoch"], plane["table"]["version"], plane["table"]["hash"])
            for plane in httpx.get(f"http://127.0.0.1:{router.admin_port}/planes", trust_env=False).json()["planes"]
        }
        assert len(tables) == 1
        with HardClients(router.port, kept=4, new=2) as load:
            eventually(lambda: load.total > 100, "answers")
        assert load.failed == []
        assert router.plane_pids() == before


def test_a_hung_control_plane_is_replaced(router: Router) -> None:
    planes, hung = router.plane_pids(), router.control_plane_pid()
    assert hung is not None
    # The supervisor calls it hung only when it has answered it, which it asks for each second.
    eventually(lambda: _age(router) > 3.0, "the control plane to have been asked")
    with HardClients(router.port, kept=2) as load:
        os.kill(hung, signal.SIGSTOP)
        eventually(lambda: router.control_plane_pid() not in (None, hung), "another control plane")
        goal = load.total + 50
        eventually(lambda: load.total > goal, "answers")
    assert load.failed == []
    assert router.plane_pids() == planes
    eventually(lambda: _age(router) > 0.0, "its admin API")


def _age(router: Router) -> float:
    with suppress(httpx.HTTPError):
        told = httpx.get(f"http://127.0.0.1:{router.admin_port}/status", trust_env=False)
        return float(told.json()["control_plane"]["age"])
    return 0.0


def test_a_router_that_was_paused_as_a_whole_keeps_its_processes(router: Router) -> None:
    planes, control_plane = router.plane_pids(), router.control_plane_pid()
    assert control_plane is not None
    # The supervisor is the last to stop and the first to go on: it sees all others silent, twice.
    everybody = [control_plane, *planes, router.process.pid]
    for pid in everybody:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1.5 if pid == everybody[-2] else 0.0)
    time.sleep(4.0)
    for pid in reversed(everybody):
        os.kill(pid, signal.SIGCONT)
        time.sleep(1.5 if pid == everybody[-1] else 0.0)
    eventually(lambda: _answers(router), "the router to go on")
    time.sleep(3.0)
    assert (router.plane_pids(), router.control_plane_pid()) == (planes, control_plane)


def _answers(router: Router) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{router.url}/readiness", trust_env=False).status_code == 200
    return False
