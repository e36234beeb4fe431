"""`routerctl planes` on a real router: overlap, adopted planes, a new plane that does not come up."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from controlplane.supervisor_socket import PlanesRestarted, restart_planes
from shared.sockets import Context
from tests.integration.commands import routerctl
from tests.integration.routers import PATIENCE, Router, eventually, simulated_fleet
from tests.integration.test_supervisor_faults import SLEEPS, Harness


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with simulated_fleet(tmp_path_factory.mktemp("fleet"), 1, "--time-scale=0") as urls:
        yield urls


@pytest.fixture
def router(tmp_path: Path, workers: list[str]) -> Iterator[Router]:
    router = Router(tmp_path, "--data-planes=2", "--worker-urls", *workers)
    try:
        router.start().ready()
        yield router
    finally:
        router.close()


def command(router: Router, *arguments: str) -> subprocess.CompletedProcess[str]:
    return routerctl("planes", *arguments, f"--runtime-dir={router.runtime.path}")


def listed(router: Router) -> list[dict[str, Any]]:
    planes: list[dict[str, Any]] = json.loads(command(router, "list", "--json").stdout)["planes"]
    return planes


def test_all_planes_are_replaced_one_after_the_other(router: Router) -> None:
    before = router.plane_pids()
    told = command(router, "restart")
    assert told.returncode == 0, told.stderr
    assert [line[:8] for line in told.stdout.splitlines()] == ["plane 0:", "plane 1:"]
    eventually(lambda: len(router.plane_pids()) == 2, "the old planes' ends")
    assert not router.plane_pids() & before
    new = {plane["slot"]: plane["pid"] for plane in listed(router)}
    said = router.supervisor_lines
    assert (
        said.index(f"plane 0 (pid {new[0]}) serves")
        < [
            number
            for number, line in enumerate(said)
            if line.startswith(f"started plane 1 (pid {new[1]}), which is to")
        ].pop()
    )
    eventually(lambda: {plane["pid"] for plane in listed(router)} == router.plane_pids(), "the list to know")
    assert [(plane["slot"], plane["state"]) for plane in listed(router)] == [(0, "serving"), (1, "serving")]


def test_one_plane_is_replaced_and_the_other_left(router: Router) -> None:
    pids = {plane["slot"]: plane["pid"] for plane in listed(router)}
    told = json.loads(command(router, "restart", "1", "--json").stdout)
    (plane,) = told["planes"]
    assert (told["outcome"], plane["slot"], plane["old_pid"]) == ("restarted", 1, pids[1])
    eventually(lambda: router.plane_pids() == {pids[0], plane["new_pid"]}, "the other plane")


def test_adopted_planes_are_replaced_too(router: Router) -> None:
    before = router.plane_pids()
    router.kill_supervisor()
    router.start().ready()
    assert router.plane_pids() == before
    assert command(router, "restart").returncode == 0
    eventually(lambda: len(router.plane_pids()) == 2 and not router.plane_pids() & before, "new planes")
    assert router.stop() == 0
    assert router.survivors() == []
    assert not router.runtime.supervisor_socket.exists()


def test_what_can_not_be_restarted_is_refused(router: Router) -> None:
    refused = command(router, "restart", "5")
    assert (refused.returncode, refused.stdout) == (1, "refused: there is no plane 5; the planes are 0 to 1\n")
    assert command(router, "restart", "x").returncode == 2
    router.kill_supervisor()
    alone = command(router, "restart")
    assert alone.returncode == 1
    assert "There is no supervisor" in alone.stderr


def test_the_list_without_a_control_plane(router: Router) -> None:
    pids = router.plane_pids()
    router.kill_supervisor()
    control_plane = router.control_plane_pid()
    assert control_plane is not None
    os.kill(control_plane, signal.SIGKILL)
    eventually(lambda: router.control_plane_pid() is None, "its end")
    assert {plane["pid"] for plane in listed(router)} == pids
    text = command(router, "list").stdout.splitlines()
    assert len(text) == 3
    assert text[0].startswith("PLANE  STATE")


def test_a_plane_that_does_not_come_up_stops_the_roll(router: Router) -> None:
    before = {plane["slot"]: plane["pid"] for plane in listed(router)}
    # What a new plane reads first.
    config = router.runtime.config.read_bytes()
    router.runtime.config.write_bytes(b"{")
    answer = httpx.post(f"http://127.0.0.1:{router.admin_port}/planes/restart", trust_env=False, timeout=60)
    assert answer.status_code == 500
    told = answer.json()
    assert told["outcome"] == "stopped"
    assert [(plane["outcome"], plane["old_pid"]) for plane in told["planes"]] == [
        ("failed", before[0]),
        ("untouched", before[1]),
    ]
    assert "exited with code 2 before it served" in told["planes"][0]["reason"]
    assert router.plane_pids() == set(before.values())
    router.runtime.config.write_bytes(config)
    assert command(router, "restart").returncode == 0


def test_a_plane_that_does_not_serve_yet_is_not_replaced(tmp_path: Path) -> None:
    harness = Harness(tmp_path, SLEEPS, SLEEPS)
    answers: list[PlanesRestarted] = []

    def ask() -> None:
        async def wish() -> None:
            context = Context()
            answers.append(await restart_planes(context, harness.runtime, (), timeout=PATIENCE))
            context.destroy(linger=0)

        asyncio.run(wish())

    thread = threading.Thread(target=ask)

    def answered() -> bool:
        if thread.ident is None and harness.runtime.supervisor_socket.exists():
            thread.start()
        return bool(answers)

    assert harness.run(until=answered) == 0
    thread.join()
    assert (answers[0].outcome, answers[0].planes) == ("refused", ())
    assert "plane 0 is being started" in answers[0].reason
