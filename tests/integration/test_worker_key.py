"""Workers that ask for a key: every request to them carries it, whatever the client sends, and nothing shows it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.integration.routers import Router, eventually, router_before, simulated_fleet

KEY = "sk-workers-1234"
NEW_KEY = "sk-replaced-5678"
CHAT = {"model": "sim-model", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}


def ask(router: Router, path: str, key: str | None = None) -> int:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    body = CHAT if "chat" in path else {"model": "sim-model", "prompt": "x", "max_tokens": 1}
    return httpx.post(f"{router.url}{path}", json=body, headers=headers, trust_env=False).status_code


def test_a_worker_with_a_key_serves_and_the_key_is_shown_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    with (
        simulated_fleet(tmp_path, 1, "--time-scale=0", f"--api-key={KEY}") as workers,
        router_before(tmp_path, workers, f"--api-key-file={file}", "--log-level=debug") as router,
    ):
        found = httpx.get(f"{router.url}/v1/models", trust_env=False).json()["data"]
        assert [model["id"] for model in found] == ["sim-model"]
        for path in ("/v1/chat/completions", "/v1/completions"):
            assert ask(router, path) == ask(router, path, "of-the-client") == 200
        received = httpx.get(f"{workers[0]}/sim/requests", trust_env=False).text
        assert "of-the-client" not in received
        # Who reaches the data port must not bring a worker of his own, which would be sent the key.
        assert httpx.post(f"{router.url}/add_worker?url=http://127.0.0.1:9", trust_env=False).status_code == 404
        status = httpx.get(f"http://127.0.0.1:{router.admin_port}/status", trust_env=False).text
        kept = [path.read_bytes() for path in router.runtime.path.rglob("*") if path.is_file()]
        assert KEY not in status + router.errors
        assert not any(KEY.encode() in content for content in kept)


def test_a_replaced_key_is_used_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(NEW_KEY)
    with (
        simulated_fleet(tmp_path, 1, "--time-scale=0", f"--api-key={KEY}") as workers,
        router_before(tmp_path, workers, f"--api-key-file={file}") as router,
    ):
        assert ask(router, "/v1/completions") == 401
        (tmp_path / "next").write_text(KEY)
        (tmp_path / "next").rename(file)
        eventually(lambda: ask(router, "/v1/completions") == 200, "the other key")


@pytest.mark.slow
def test_a_key_on_the_command_line_is_used_and_hidden(tmp_path: Path) -> None:
    with (
        simulated_fleet(tmp_path, 1, "--time-scale=0", f"--api-key={KEY}") as workers,
        router_before(tmp_path, workers, "--api-key", KEY) as router,
    ):
        assert ask(router, "/v1/completions") == 200
        assert "--api-key-file" in router.errors
        processes = {router.process.pid, router.control_plane_pid(), *router.plane_pids()}
        for pid in processes:
            for name in ("cmdline", "environ"):
                assert KEY.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
        status = httpx.get(f"http://127.0.0.1:{router.admin_port}/config", trust_env=False).text
        assert KEY not in status + router.errors
        with_key = [
            path for path in router.runtime.path.rglob("*") if path.is_file() and KEY in path.read_text("latin-1")
        ]
        assert with_key == [router.runtime.worker_key]
        assert router.runtime.worker_key.stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    command = (sys.executable, "-m", "controlplane.cli", "start", f"--api-key-file={tmp_path / 'key'}")
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=30, env={**os.environ, "ROUTERCTL_API_KEY": KEY}
    )
    assert result.returncode == 2
    assert "ROUTERCTL_API_KEY and --api-key-file are both given" in result.stderr
    assert KEY not in result.stderr
