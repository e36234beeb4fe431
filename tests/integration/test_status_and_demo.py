"""`routerctl status` in a router's good and bad days, and `routerctl demo` from its start to its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.process import start_ticks
from tests.integration.commands import routerctl
from tests.integration.routers import PATIENCE, Router, eventually, free_ports, simulated_fleet


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    with simulated_fleet(tmp_path, 2, "--time-scale=0") as workers:
        router = Router(tmp_path, "--data-planes=2", "--worker-urls", *workers)
        try:
            router.start().ready()
            yield router
        finally:
            router.close()


def status(router: Router) -> dict[str, Any]:
    result = routerctl("status", "--runtime-dir", str(router.runtime.path), "--json")
    assert result.returncode == 0, result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    known = {
        "supervisor",
        "control_plane",
        "planes",
        "workers",
        "config",
        "client_keys",
        "kubernetes",
        "data_planes",
        "removed",
        "policies",
        "pairs",
        "failing",
        "traces_lost",
        "admission",
    }
    assert set(report) == known
    return report


def test_status_tells_of_the_router_also_without_a_control_plane(router: Router) -> None:
    planes = router.plane_pids()
    report = status(router)
    assert report["supervisor"]["pid"] == router.process.pid
    assert report["control_plane"]["pid"] == router.control_plane_pid()
    assert {plane["pid"] for plane in report["planes"]} == planes
    assert [worker["state"] for worker in report["workers"]] == ["ready", "ready"]

    control_plane = router.control_plane_pid()
    assert control_plane is not None
    router.kill_supervisor()
    os.kill(control_plane, signal.SIGKILL)
    eventually(lambda: start_ticks(control_plane) is None, "the control plane's end")
    alone = status(router)
    assert alone["supervisor"]["state"] == "gone"
    assert alone["control_plane"]["state"] == "down"
    assert {plane["pid"] for plane in alone["planes"]} == planes
    assert all(plane["table"]["version"] for plane in alone["planes"])
    assert {worker["url"] for worker in alone["workers"]} == {worker["url"] for worker in report["workers"]}
    text = routerctl("status", "--runtime-dir", str(router.runtime.path)).stdout
    assert "control plane  down" in text
    assert "nothing restarts what dies until `routerctl start` takes over" in text.splitlines()

    one = min(planes)
    os.kill(one, signal.SIGKILL)
    eventually(lambda: start_ticks(one) is None, "the plane's end")
    text = routerctl("status", "--runtime-dir", str(router.runtime.path)).stdout
    assert "1 of 2 planes; nothing restarts what dies until `routerctl start` takes over" in text.splitlines()
    listed = routerctl("planes", "list", "--runtime-dir", str(router.runtime.path)).stdout
    assert [line.split()[1] for line in listed.splitlines()].count("gone") == 1


def test_a_router_that_stops_says_so(tmp_path: Path) -> None:
    router = Router(tmp_path, "--data-planes=1", "--drain-delay-secs=600")
    try:
        router.start().ready()
        folder = ("--runtime-dir", str(router.runtime.path))
        router.process.send_signal(signal.SIGTERM)
        eventually(lambda: status(router)["supervisor"]["state"] == "stopping", "the stop to be told")
        refused = routerctl("planes", "restart", *folder)
        assert refused.returncode == 1
        assert "The router is stopping, and starts no planes." in refused.stderr
    finally:
        router.close()


def test_status_shows_no_other_router_than_the_one_named(router: Router) -> None:
    own = str(router.runtime.path)
    assert routerctl("status", ROUTERCTL_RUNTIME_DIR=own).returncode == 0
    elsewhere = routerctl("status", "--admin", "http://127.0.0.1:1", ROUTERCTL_RUNTIME_DIR=own)
    assert elsewhere.returncode == 1
    assert "no admin API of a router answers at http://127.0.0.1:1 (Connection refused);" in elsewhere.stderr
    other_folder = routerctl("status", "--runtime-dir", str(router.folder / "nothing"), ROUTERCTL_RUNTIME_DIR=own)
    assert other_folder.returncode == 1


def test_status_without_a_router(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    result = routerctl("status", "--runtime-dir", str(tmp_path), "--admin", f"http://127.0.0.1:{port}")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "no router found" in line
    assert "routerctl start" in line
    assert list(tmp_path.iterdir()) == []


def demo_arguments() -> list[str]:
    flags = ("--port", "--admin-port", "--prometheus-port")
    return [f"{flag}={port}" for flag, port in zip(flags, free_ports(3), strict=True)] + ["--data-planes=1"]


def test_demo_once_shows_an_answer_and_ends() -> None:
    arguments = demo_arguments()
    result = routerctl("demo", "--once", *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("ready: ")
    url = f"http://127.0.0.1:{arguments[0].partition('=')[2]}"
    assert f"curl {url}/v1/chat/completions" in result.stdout


def test_demo_ends_on_ctrl_c_and_leaves_no_process(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    router = Router(tmp_path)
    command = (sys.executable, "-m", "controlplane.cli", "demo", f"--runtime-dir={runtime}", *demo_arguments())
    with open(tmp_path / "demo", "wb") as output:
        process = subprocess.Popen(command, stdout=output)
    try:
        eventually(lambda: "Ctrl-C" in (tmp_path / "demo").read_text() or process.poll() is not None, "the answer")
        assert router.plane_pids()
        assert router.control_plane_pid() is not None
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert router.survivors() == []
    finally:
        process.kill()
        process.wait()
        router.close()


def test_demo_fails_where_the_router_can_not_start(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o755)
    result = routerctl("demo", "--once", f"--runtime-dir={runtime}", *demo_arguments())
    assert result.returncode == 1
    assert "the router ended with exit code 1" in result.stderr
