"""What monitors are told by a real router, and `routerctl top` in a real terminal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import termios
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from tests.integration.commands import routerctl
from tests.integration.routers import PATIENCE, Router, eventually, samples
from tests.integration.terminals import Terminal, terminal


def admin(router: Router, path: str) -> Any:
    return httpx.get(f"http://127.0.0.1:{router.admin_port}{path}", trust_env=False).raise_for_status().json()


def stream(client: httpx.Client) -> None:
    usage = {"include_usage": True}
    request = {"model": "sim-model", "prompt": "a b c", "max_tokens": 4, "stream": True, "stream_options": usage}
    answer = client.post("/v1/completions", json=request)
    assert answer.status_code == 200, answer.text


def test_who_follows_the_fleet_is_told_of_a_change(router: Router, fleet: list[str]) -> None:
    url = f"http://127.0.0.1:{router.admin_port}"
    worker = f"{url}/workers/{quote(fleet[0], safe='')}"
    with httpx.stream("GET", f"{url}/live", trust_env=False, timeout=PATIENCE) as answer:
        steps = (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith('data: {"at"'))
        first = next(steps)
        assert first["full"]
        assert {key for key in first["records"] if key.startswith("worker:")} == {f"worker:{url}" for url in fleet}
        httpx.post(f"{worker}/drain", trust_env=False, timeout=PATIENCE).raise_for_status()
        told = (step["records"].get(f"worker:{fleet[0]}") for step in steps)
        assert any(record and record["worker"]["state"] == "draining" for record in told)
    httpx.post(f"{worker}/undrain", trust_env=False, timeout=PATIENCE).raise_for_status()


def test_rates_and_times_come_with_requests(router: Router, client: httpx.Client, fleet: list[str]) -> None:
    def has_figures() -> bool:
        for _ in fleet:
            stream(client)
        told = admin(router, "/monitor?events=100")
        traffic, workers = told["summary"]["traffic"], told["status"]["workers"]
        return (
            traffic is not None
            and traffic["requests"] > 0
            and traffic["output_tokens"] > 0
            and traffic["first_token"] is not None
            and all(worker["traffic"] and worker["traffic"]["first_byte"] for worker in workers)
            and all(plane["request_rate"] is not None for plane in told["status"]["planes"])
            and any(event["text"].endswith("is ready (was starting)") for event in told["events"])
        )

    eventually(has_figures, "figures of the whole and of each worker")
    glance = admin(router, "/summary")
    assert (glance["workers"], glance["planes"], glance["data_planes"]) == ({"ready": len(fleet)}, 2, 2)


def is_complete(router: Router) -> bool:
    try:
        return "routerctl_requests_total" in samples(router)
    except httpx.HTTPError:
        return False


def top(router: Router, *arguments: str) -> AbstractContextManager[Terminal]:
    command = (sys.executable, "-m", "controlplane.cli", "top", f"--runtime-dir={router.runtime.path}", *arguments)
    return terminal(*command)


def test_a_worker_is_drained_and_taken_back_by_keys(router: Router, fleet: list[str]) -> None:
    last = max(fleet, key=lambda url: int(url.rpartition(":")[2]))
    short = last.removeprefix("http://")
    with top(router, "--interval=0.2") as screen:
        assert f">{short}" not in screen.until("3 of 3 ready")
        screen.type("\x1b[F")
        screen.until(f">{short}")
        screen.type("d")
        screen.until(f"drain {last}? no new requests, 0 open ones go on")
        screen.type("n")
        screen.until("nothing was changed")
        screen.type("dy")
        screen.until(f"worker {last} gets no more requests")
        screen.until("workers 2 of 3 ready, 1 drained")
        assert admin(router, "/workers")["workers"][fleet.index(last)]["state"] == "draining"
        # Smaller, and in another form.
        screen.resize(40, 10)
        screen.type("/drained")
        screen.until("list only: drained_")
        screen.type("\r")
        screen.until(f">{short[:10]}")
        screen.resize(80, 24)
        screen.type("uy")
        screen.until("3 of 3 ready")
        screen.type("q")
        assert screen.process.wait(PATIENCE) == 0
        screen.read()
        assert screen.raw.endswith(b"\x1b[?7h\x1b[?25h\x1b[?1049l")
        assert termios.tcgetattr(screen.other) == screen.before


def test_it_goes_on_when_the_control_plane_is_back(router: Router) -> None:
    with top(router, "--interval=0.2") as screen:
        screen.until("3 of 3 ready")
        control_plane = router.control_plane_pid()
        assert control_plane is not None
        # A supervisor that is stopped starts no other one.
        router.process.send_signal(signal.SIGSTOP)
        os.kill(control_plane, signal.SIGKILL)
        screen.until("NOT REACHED")
        # Keys work meanwhile.
        screen.type("?")
        screen.until("any key goes back")
        screen.type("x")
        router.process.send_signal(signal.SIGCONT)
        eventually(lambda: router.control_plane_pid() not in (None, control_plane), "a new control plane")
        eventually(lambda: "NOT REACHED" not in screen.read(), "the monitor to reach it")
        screen.until("3 of 3 ready")
        screen.type("\x03")
        assert screen.process.wait(PATIENCE) == 0


def test_without_a_terminal_it_is_one_frame(router: Router, fleet: list[str]) -> None:
    command = (sys.executable, "-m", "controlplane.cli", "top", "--runtime-dir", str(router.runtime.path))
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, stdin=subprocess.DEVNULL)
    assert all(url.removeprefix("http://") in done.stdout for url in fleet)
    assert "\x1b" not in done.stdout
    nobody = subprocess.run((*command[:-1], "/nonexistent"), capture_output=True, text=True, check=False, timeout=60)
    assert nobody.returncode == 1
    assert "routerctl: error:" in nobody.stderr


def test_a_report_has_every_request_also_over_a_restart_and_without_the_router(
    router: Router, client: httpx.Client, fleet: list[str], tmp_path: Path
) -> None:
    def told(*arguments: str) -> Any:
        folder = f"--runtime-dir={router.runtime.path}"
        done = routerctl("report", folder, "--since=0", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    stream(client)
    before = router.control_plane_pid()
    assert before is not None
    # It writes a row at its end.
    os.kill(before, signal.SIGTERM)
    eventually(lambda: router.control_plane_pid() not in (None, before), "a new control plane")
    # Sums are shown, and rows written, once all planes have told theirs.
    eventually(lambda: is_complete(router), "all planes' sums")
    stream(client)
    assert router.stop() == 0
    report = told("--json", f"--html={tmp_path / 'report.html'}")
    assert report["traffic"]["requests"] == report["traffic"]["answered"] >= 2
    assert sum(worker["requests"] for worker in report["workers"]) == report["traffic"]["requests"]
    assert {worker["worker"] for worker in report["workers"]} <= set(fleet)
    assert report["models"][0]["output_tokens"] >= 8
    assert "<svg" in (tmp_path / "report.html").read_text()
    assert "sim-model" in told()
