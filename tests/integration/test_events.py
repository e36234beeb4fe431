"""`routerctl events`: what changed and why, also when nobody runs any more."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx

from tests.integration.commands import routerctl
from tests.integration.routers import Router, eventually, router_before, simulated_fleet


def events(*arguments: str, code: int = 0) -> str:
    done = routerctl("events", *arguments)
    assert done.returncode == code, done
    return done.stdout if code == 0 else done.stderr


def told(router: Router, *arguments: str) -> list[dict[str, Any]]:
    lines = events(f"--runtime-dir={router.runtime.path}", "--json", *arguments).splitlines()
    return [json.loads(line) for line in lines]


def texts(router: Router, kind: str) -> list[str]:
    return [event["text"] for event in told(router) if event["kind"] == kind]


def test_what_happened_is_told_with_and_without_the_router(tmp_path: Path) -> None:
    with (
        simulated_fleet(tmp_path, 2, "--time-scale=0") as (worker, _),
        router_before(tmp_path, [worker], "--log-level=warning") as router,
    ):
        folder = f"--runtime-dir={router.runtime.path}"
        assert f"worker {worker} is ready (was starting)" in texts(router, "worker")
        httpx.post(f"http://127.0.0.1:{router.admin_port}/workers/{worker.replace('/', '%2F')}/drain", trust_env=False)
        eventually(lambda: "is draining" in events(folder), "the drain")
        assert "is ready (was starting)" not in router.errors

        plane = router.plane_pids().pop()
        os.kill(plane, signal.SIGKILL)
        eventually(lambda: any("was killed by SIGKILL" in text for text in texts(router, "process")), "the death")
        control_plane = router.control_plane_pid()
        assert control_plane is not None
        os.kill(control_plane, signal.SIGKILL)
        eventually(lambda: router.control_plane_pid() not in (None, control_plane), "another control plane")
        (newest,) = told(router, "--limit=1")
        assert newest["kind"] in ("worker", "process")
        before = told(router)
        assert [event["time"] for event in before] == sorted(event["time"] for event in before)

        assert router.stop() == 0
        after = told(router, "--since=0")
        assert after[: len(before)] == before
        assert after[-1]["text"] == "stopped"
        shown = events(folder).splitlines()
        assert shown[-1].endswith("info     stopped")
        assert "write a number with its unit" in events(folder, "--since=soon", code=2)
    assert "no router has run" in events(f"--runtime-dir={tmp_path}/none", code=1)
