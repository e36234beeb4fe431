"""What a plane waits for before it takes clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from dataplane.needed_files import NeededFiles
from shared.server_tls import ServerTls
from shared.worker_key import WorkerKey
from tests.unit.controlplane.waiting import until


def waiting(needed: NeededFiles, then: Callable[[asyncio.Event], object]) -> bool:
    """Have a plane wait, do something once it does, and return whether it may serve."""

    async def main() -> bool:
        stop = asyncio.Event()
        task = asyncio.create_task(needed.usable(stop))
        await until(lambda: needed.waits_for != "")
        then(stop)
        return await task

    return asyncio.run(main())


def test_a_plane_without_files_waits_for_nothing() -> None:
    needed = NeededFiles(None, WorkerKey())
    assert asyncio.run(needed.usable(asyncio.Event()))
    assert needed.waits_for == ""


def test_a_plane_waits_for_the_workers_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "key"
    key = WorkerKey(str(file))
    needed = NeededFiles(None, key)
    assert waiting(needed, lambda _: file.write_text("sk-1"))
    assert key.authorization == "Bearer sk-1"
    assert needed.waits_for == ""
    told = [line for line in caplog.messages if line.endswith("; this plane takes no clients until then")]
    assert len(told) == 1
    assert told[0].startswith(f"--api-key-file {file}: No such file")


def test_a_plane_that_is_told_to_end_waits_no_longer(tmp_path: Path) -> None:
    needed = NeededFiles(None, WorkerKey(str(tmp_path / "key")))
    assert not waiting(needed, lambda stop: stop.set())


def test_a_plane_waits_for_its_certificate(tmp_path: Path) -> None:
    tls = ServerTls(str(tmp_path / "cert"), str(tmp_path / "key"), None, ("--tls-cert", "--tls-key", "--tls-client-ca"))
    needed = NeededFiles(tls, WorkerKey())
    assert not waiting(needed, lambda stop: stop.set())
    assert "--tls-cert" in needed.waits_for
