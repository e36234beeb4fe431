"""Who runs is known without its record: by its socket, and by its lock."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from controlplane.children import find_strays
from controlplane.strays import described, holders, listener
from shared.process import own_record
from shared.runtime_dir import RuntimeDir

HOLDS = """
import fcntl, os, socket, sys
descriptor = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(descriptor, fcntl.LOCK_SH)
listening = socket.socket(socket.AF_UNIX)
if sys.argv[2]:
    listening.bind(sys.argv[2])
    listening.listen(1)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def runtime(tmp_path: Path) -> RuntimeDir:
    runtime = RuntimeDir(tmp_path / "run")
    runtime.prepare()
    return runtime


@contextmanager
def holding(runtime: RuntimeDir, listens_at: Path | str = "", name: str = "dataplane") -> Iterator[int]:
    """A process that holds the folder, as a plane does, and listens there; yields its pid."""
    command = (sys.executable, "-S", "-c", HOLDS, str(runtime.path), str(listens_at), name)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        yield process.pid
        process.stdin.close()


def test_a_process_is_described_as_it_would_itself() -> None:
    found, own = described(os.getpid()), own_record()
    assert found is not None
    assert (found.pid, found.start_ticks) == (own.pid, own.start_ticks)
    assert found.started <= own.started
    assert described(2**22 + 1) is None


def test_a_plane_without_a_record_is_found_by_its_socket(runtime: RuntimeDir) -> None:
    plane_id = secrets.token_hex(8)
    runtime.plane(plane_id).write_text("{")
    with holding(runtime, runtime.plane_socket(plane_id)) as pid:
        assert {one: process.pid for one, process in find_strays(runtime, ()).items()} == {plane_id: pid}
        assert find_strays(runtime, {pid}) == {}
    assert find_strays(runtime, ()) == {}


def test_one_whose_socket_is_gone_is_found_by_its_lock(runtime: RuntimeDir) -> None:
    with holding(runtime) as pid:
        (process,) = find_strays(runtime, ()).values()
        assert process.pid == pid
        assert find_strays(runtime, {pid}) == {}


def test_others_that_hold_the_folder_are_left_alone(runtime: RuntimeDir, tmp_path: Path) -> None:
    elsewhere = RuntimeDir(tmp_path / "another")
    elsewhere.prepare()
    with holding(runtime, name="backup"), holding(elsewhere):
        assert holders(runtime.path) == []


def test_a_socket_that_nobody_listens_at_is_nobodys(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left"))
    assert listener(tmp_path / "left", tmp_path / "none") is None
