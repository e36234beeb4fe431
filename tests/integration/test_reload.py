"""Reloads of a running router: by signal and by command, good ones and bad ones, while requests are sent."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx
import msgspec
import pytest

from shared.config import StartConfig
from tests.integration.routers import Router, eventually, simulated_fleet
from tests.integration.test_cli_errors import routerctl

FLAGS = ("--data-planes", "2")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with simulated_fleet(tmp_path_factory.mktemp("fleet"), 1) as urls:
        yield urls


@pytest.fixture
def router(tmp_path: Path, fleet: list[str]) -> Iterator[Router]:
    (tmp_path / "r.toml").write_text(file(fleet, ""))
    router = Router(tmp_path, *FLAGS, "--config", str(tmp_path / "r.toml"))
    try:
        router.start().ready()
        yield router
    finally:
        router.close()


def file(fleet: list[str], more: str) -> str:
    return f"worker_urls = {msgspec.json.encode(fleet).decode()}\n{more}\n"


def reload(router: Router) -> subprocess.CompletedProcess[str]:
    return routerctl("reload", "--runtime-dir", str(router.runtime.path), cwd=router.folder)


def kept(router: Router) -> StartConfig:
    return msgspec.json.decode(router.runtime.config.read_bytes(), type=StartConfig)


def exposes_worker(router: Router) -> bool:
    return "x-routerctl-worker" in httpx.get(f"{router.url}/version", trust_env=False).headers


def test_reloads_under_requests(router: Router, fleet: list[str]) -> None:
    config = router.folder / "r.toml"
    planes, control_plane = router.plane_pids(), router.control_plane_pid()
    stop = Event()

    def ask() -> list[int]:
        statuses = []
        while not stop.is_set():
            statuses.append(httpx.get(f"{router.url}/version", trust_env=False).status_code)
        return statuses

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        try:
            config.write_text(file(fleet, 'expose_worker = true\nlog_level = "debug"\nhealth_check_interval_secs = 7'))
            result = reload(router)
            assert (result.returncode, result.stderr) == (0, "")
            assert result.stdout.splitlines() == [
                "health_check_interval_secs: 60 -> 7",
                "expose_worker: false -> true",
                'log_level: "info" -> "debug"',
            ]
            # Every plane has confirmed it.
            assert all(exposes_worker(router) for _ in range(10))
            assert reload(router).stdout == "no value is different\n"

            config.write_text(file(fleet, "expose_worker = false\nadmin_port = 5\nhost = '127.0.0.2'"))
            result = reload(router)
            assert (result.returncode, result.stdout) == (1, "")
            assert [f"{key} can not change" in result.stderr for key in ("r.toml:4: host", "admin_port")] == [
                True,
                False,
            ]

            config.write_text(file(fleet, "expose_worker = false\nretry_max_retries = 101\nprot = 1"))
            result = reload(router)
            assert (result.returncode, result.stdout) == (1, "")
            assert [f"r.toml:{line}: " in result.stderr for line in (3, 4)] == [True, True]
            assert exposes_worker(router)

            config.write_text(file(fleet, ""))
            router.process.send_signal(signal.SIGHUP)
            eventually(lambda: not kept(router).expose_worker, "the reload by SIGHUP")
            assert not exposes_worker(router)
        finally:
            stop.set()
        statuses = asked.result()
    assert statuses
    assert set(statuses) == {200}
    assert (router.plane_pids(), router.control_plane_pid()) == (planes, control_plane)
    assert router.process.poll() is None


def test_a_bad_file_at_sighup_is_logged_with_its_line_and_changes_nothing(router: Router, fleet: list[str]) -> None:
    before = kept(router)
    (router.folder / "r.toml").write_text(file(fleet, 'policy = "best"'))
    router.process.send_signal(signal.SIGHUP)
    eventually(lambda: "reload refused, nothing has changed: " in router.errors, "the refusal")
    assert "r.toml:2: policy is 'best'" in router.errors
    assert kept(router) == before
    assert router.stop() == 0


def test_the_next_control_plane_has_what_was_reloaded(router: Router, fleet: list[str]) -> None:
    (router.folder / "r.toml").write_text(file(fleet, "expose_worker = true"))
    assert reload(router).returncode == 0
    before = router.control_plane_pid()
    assert before is not None
    os.kill(before, signal.SIGKILL)
    eventually(lambda: router.control_plane_pid() not in (None, before), "the next control plane")
    (router.folder / "r.toml").write_text(file(fleet, "expose_worker = true\nconnect_timeout_secs = 9"))
    # As early as can be: it starts with the signal held back, and reloads once it can.
    router.process.send_signal(signal.SIGHUP)
    eventually(lambda: kept(router).connect_timeout_secs == 9.0, "the reload by the next control plane")
    assert exposes_worker(router)


def test_without_a_router(tmp_path: Path) -> None:
    result = routerctl("reload", "--runtime-dir", str(tmp_path), cwd=tmp_path)
    assert result.returncode == 1
    assert "no control plane runs on runtime folder" in result.stderr
