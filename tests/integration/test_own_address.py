"""A router that is named among its own workers, and one before another router."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.routers import Router, eventually, router_before


def workers(router: Router) -> dict[str, dict[str, Any]]:
    """What the admin API tells of the workers; nothing while it is away."""
    try:
        found = httpx.get(f"http://127.0.0.1:{router.admin_port}/workers", timeout=30, trust_env=False)
    except httpx.TransportError:
        return {}
    return {one["id"]: one for one in found.json()["workers"]}


def knows_itself(router: Router) -> bool:
    itself = workers(router).get(router.url)
    return itself is not None and itself["state"] == "starting" and "the router's own" in itself["reason"]


def test_a_router_is_no_worker_of_its_own(tmp_path: Path, fleet: list[str]) -> None:
    with router_before(tmp_path, fleet[:1], planes=1) as router:
        added = httpx.post(
            f"http://127.0.0.1:{router.admin_port}/workers", json={"url": router.url}, timeout=30, trust_env=False
        )
        assert added.status_code == 201
        eventually(lambda: knows_itself(router), "the router to be known")


@pytest.mark.slow
def test_a_router_may_be_the_worker_of_another_and_knows_itself_in_its_next_life(
    tmp_path: Path, fleet: list[str]
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        router_before(tmp_path / "one", fleet[:1], planes=2) as router,
        router_before(tmp_path / "two", [router.url]) as front,
    ):
        added = httpx.post(
            f"http://127.0.0.1:{router.admin_port}/workers", json={"url": router.url}, timeout=30, trust_env=False
        )
        assert added.status_code == 201
        eventually(lambda: knows_itself(router), "the router to be known")
        eventually(lambda: workers(front)[router.url]["state"] == "ready", "the router behind to be a worker")
        model = httpx.get(f"{front.url}/v1/models", timeout=30, trust_env=False).json()["data"][0]["id"]
        body = {"model": model, "prompt": "hello", "max_tokens": 2}
        assert httpx.post(f"{front.url}/v1/completions", json=body, timeout=30, trust_env=False).status_code == 200

        pid = router.control_plane_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: router.control_plane_pid() not in (None, pid), "another control plane")
        eventually(lambda: knows_itself(router), "the router to be known again")
        assert httpx.post(f"{front.url}/v1/completions", json=body, timeout=30, trust_env=False).status_code == 200
