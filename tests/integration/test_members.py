"""Workers that come, drain and go while two planes are under load; and what of it a new control plane knows."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.faults.load import Load
from tests.integration.commands import routerctl
from tests.integration.routers import PATIENCE, Router, eventually, router_before

TOKEN = "the-token-of-these-tests"


@pytest.fixture
def router(tmp_path: Path, fleet: list[str]) -> Iterator[Router]:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with router_before(tmp_path, fleet[:2], f"--admin-token-file={token}", planes=2) as router:
        yield router


def command(router: Router, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`routerctl workers ...` of that router."""
    return routerctl("workers", *arguments, f"--runtime-dir={router.runtime.path}")


def done(router: Router, *arguments: str) -> dict[str, Any]:
    """What the command tells as JSON."""
    answer = command(router, *arguments, "--json")
    assert answer.returncode == 0, answer.stderr
    told: dict[str, Any] = json.loads(answer.stdout)
    return told


def asked(worker: str) -> int:
    """Prompt tokens that a simulated worker has read: it grows with each request, and with nothing else."""
    tokens: int = httpx.get(f"{worker}/sim/state", timeout=30).json()["engine"]["prompt_tokens"]
    return tokens


def hundred_pass_by(load: Load, worker: str) -> bool:
    """Whether no more requests come to a worker while others answer a hundred."""
    seen, goal = asked(worker), load.total + 100
    eventually(lambda: load.total >= goal, "more answers")
    return asked(worker) == seen


def series(router: Router) -> str:
    return httpx.get(f"http://127.0.0.1:{router.prometheus_port}/metrics", timeout=30).text


@pytest.mark.parametrize("promise", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["some time", "promise"])
def test_g_cp_6_each_change_is_honoured_by_every_plane(router: Router, fleet: list[str], promise: bool) -> None:
    """With the promise: a second until a ready worker is asked, and 100 ms until one that leaves is no more."""
    first, second, third = fleet
    with Load(router.url, 6) as load:
        eventually(lambda: asked(first) > 200 and asked(second) > 200, "both workers to be asked")
        before = asked(third)
        done(router, "add", third)
        eventually(lambda: done(router, "show", third)["state"] == "ready", "the new worker")
        eventually(lambda: asked(third) > before, "requests at the new worker", 1.0 if promise else PATIENCE)
        eventually(lambda: asked(third) > before + 100, "many of them")

        for verb, worker in (("drain", first), ("remove", second)):
            changed = done(router, verb, worker)
            assert changed["on_every_plane"]
            assert changed["kept"]
            if promise:
                time.sleep(0.1)
                assert hundred_pass_by(load, worker)
            # What was on its way to it may still come to it.
            eventually(lambda worker=worker: hundred_pass_by(load, worker), "a hundred to go elsewhere")  # type: ignore[misc]
        eventually(lambda: done(router, "show", first)["drained"], "the drained worker to be called so")
        eventually(lambda: command(router, "show", second).returncode == 1, "the removed worker to be gone")
        text = series(router)
        assert f'worker="{second}"' not in text
        assert f'worker="{first}"' in text

        seen = asked(first)
        done(router, "undrain", first)
        eventually(lambda: asked(first) > seen, "requests at the worker that is back")
    assert load.failed == []


def test_weight_and_priority_count_on_every_plane_and_survive(router: Router, fleet: list[str]) -> None:
    first, second, third = fleet

    def shares(*workers: str) -> list[float]:
        before = [asked(worker) for worker in workers]
        told = load.total
        eventually(lambda: load.total > told + 400, "more answers")
        grown = [asked(worker) - old for worker, old in zip(workers, before, strict=True)]
        return [one / sum(grown) for one in grown]

    with Load(router.url, 6) as load:
        assert done(router, "weight", first, "3")["on_every_plane"]
        # The workers are asked one after the other, and answers go on meanwhile.
        eventually(lambda: shares(first, second)[0] == pytest.approx(0.75, abs=0.05), "three of four requests")
        done(router, "add", third, "--priority=60", "--capacity=8", "--label=zone=a", "--label=gpu=h100")
        eventually(lambda: done(router, "show", third)["state"] == "ready", "the new worker")
        eventually(lambda: shares(first, second, third) == [0, 0, 1], "the higher priority to get all requests")
        # Nobody else is preferred any more.
        done(router, "weight", third, "0")
        eventually(lambda: shares(first, second, third)[2] == 0, "the others to get all requests")
        done(router, "label", third, "gpu-", "zone=b")
        pid = router.control_plane_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: router.control_plane_pid() not in (None, pid), "another control plane")
        eventually(lambda: command(router, "list").returncode == 0, "its admin API")
        (found,) = done(router, "list", "--label", "zone=b")["workers"]
        assert (found["id"], found["weight"], found["priority"], found["capacity"]) == (third, 0, 60, 8)
        assert found["labels"] == {"zone": "b"}
        assert done(router, "show", first)["changed"] == ["weight"]
        assert done(router, "weight", first, "reset")["weight"] == 1
    assert load.failed == []
    assert "weight is 1001.0; write a number from 0 to 1000" in command(router, "weight", first, "1001").stderr
    assert command(router, "weight", first, "much").returncode == 2
    assert command(router, "label", first, "zone").returncode == 2


def test_what_was_changed_survives_the_control_plane_and_ends_with_the_router(router: Router, fleet: list[str]) -> None:
    first, second, third = fleet
    done(router, "add", third)
    done(router, "drain", first)
    done(router, "remove", second, "--force")
    pid = router.control_plane_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: router.control_plane_pid() not in (None, pid), "another control plane")
    eventually(lambda: command(router, "list").returncode == 0, "its admin API")
    listed = {worker["id"]: worker for worker in done(router, "list")["workers"]}
    assert set(listed) == {first, third}
    assert listed[first]["state"] == "draining"
    assert listed[third]["source"] == "admin"
    assert listed[third]["state"] == "ready"

    assert router.stop() == 0
    router.start().ready()
    listed = {worker["id"]: worker for worker in done(router, "list")["workers"]}
    assert set(listed) == {first, second}
    assert "draining" not in {worker["state"] for worker in listed.values()}


def test_the_command_for_people_and_its_errors(
    router: Router, fleet: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _, third = fleet
    monkeypatch.setenv("COLUMNS", "70")
    shown = command(router, "list").stdout
    assert shown.splitlines()[0].split() == ["WORKER", "STATE", "AGE", "OPEN", "SOURCE", "MODELS"]
    assert first in shown
    assert max(map(len, shown.splitlines())) <= 70
    assert "gets no more requests" in command(router, "drain", first).stdout
    assert "sim-model" in command(router, "show", first).stdout

    unknown = command(router, "drain", third)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert f"404: There is no worker {third}" in unknown.stderr
    assert "`routerctl workers list`" in unknown.stderr
    assert command(router, "add", "nonsense").returncode == 2
    assert command(router, "add").returncode == 2
    assert "is gone" in command(router, "remove", "--force", first).stdout
    removed = "configured, but removed (`routerctl workers add URL` brings one back): "
    assert command(router, "list").stdout.splitlines()[-1] == removed + first
    assert command(router, "frobnicate").returncode == 2

    admin = f"http://127.0.0.1:{router.admin_port}"
    assert httpx.get(f"{admin}/workers").status_code == 401
    told = json.loads(routerctl("status", f"--runtime-dir={router.runtime.path}", "--json").stdout)
    assert {worker["source"] for worker in told["workers"]} == {"static"}
    # The token is in no log and in no command line.
    assert TOKEN not in router.errors
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in {router.process.pid, *router.plane_pids()}]
    assert TOKEN.encode() not in b"".join(lines)


def test_an_admin_api_that_others_reach_needs_a_token(tmp_path: Path) -> None:
    router = Router(tmp_path, "--admin-host=0.0.0.0")
    try:
        assert router.start().process.wait(30) == 2
        assert "give a secret with --admin-token-file FILE" in router.errors
    finally:
        router.close()


def test_a_router_without_workers_says_so(tmp_path: Path) -> None:
    with router_before(tmp_path, []) as router:
        eventually(lambda: "no worker is configured" in router.errors, "the warning")
        assert "`routerctl workers add URL`" in router.errors
        assert httpx.get(f"{router.url}/anything").status_code == 503


def test_vllm_routers_endpoints_on_the_main_port(tmp_path: Path, fleet: list[str]) -> None:
    first, second, _ = fleet
    router = Router(tmp_path, "--data-planes=2", "--worker-urls", first)
    try:
        router.start().ready()
        with httpx.Client(base_url=router.url, timeout=30) as client:
            added = client.post("/add_worker", params={"url": second})
            assert (added.status_code, added.text) == (200, f"Successfully added worker: {second}")
            again = client.post("/workers", json={"url": second, "priority": 7})
            assert again.status_code == 400
            assert again.json() == {"error": f"Worker {second} already exists", "code": "ADD_WORKER_FAILED"}
            # The change is on every plane when it is answered.
            assert all(httpx.get(f"{router.url}/list_workers").json() == {"urls": [first, second]} for _ in range(10))
            eventually(lambda: client.get(f"/workers/{quote(second, safe='')}").json()["is_healthy"], "a ready worker")
            eventually(lambda: {w["load"] for w in client.get("/get_loads").json()["workers"]} == {0}, "loads")
            assert "x-request-id" in client.get("/workers").headers
            # vLLM empties its cache in development mode only, and so the simulated workers do not.
            flushed = client.post("/flush_cache")
            assert (flushed.status_code, flushed.text) == (500, "Cache flush failed on one or more servers")
            assert client.get("/get_server_info").status_code == 404
            removed = client.delete(f"/workers/{quote(second, safe='')}")
            assert removed.json() == {"success": True, "message": f"Worker {second} removed successfully"}
            eventually(lambda: client.get("/list_workers").json() == {"urls": [first]}, "it to be gone")
        assert router.stop() == 0
        router.start("--no-admin-on-main").ready()
        changes = (("POST", f"/add_worker?url={second}"), ("POST", "/flush_cache"))
        for method, path in (("GET", "/workers"), ("GET", "/get_server_info"), *changes):
            answer = httpx.request(method, router.url + path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "admin_not_on_main")
    finally:
        router.close()
