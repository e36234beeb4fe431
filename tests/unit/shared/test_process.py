"""Who runs: a process is its pid and the moment it started, whatever it calls itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from shared.plane_identity import PlaneIdentity
from shared.process import has_ended, is_alive, own_record, start_ticks
from shared.runtime_dir import PlaneRecord, ProcessRecord, RuntimeDir, write_record
from shared.version import __version__


@contextmanager
def child(name: bytes = b"child") -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that calls itself `name` until its input ends."""
    code = f"open('/proc/self/comm', 'wb').write({name!r}); print(flush=True); input()"
    command = [sys.executable, "-S", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def record_of(pid: int) -> ProcessRecord:
    ticks = start_ticks(pid)
    assert ticks is not None
    return ProcessRecord(pid=pid, start_ticks=ticks, version="", started=0.0)


def test_this_process_is_alive() -> None:
    record = own_record()
    assert record.pid == os.getpid()
    assert record.version == __version__
    assert record.start_ticks > 0
    assert abs(record.started - time.time()) < 60
    assert is_alive(record)
    assert own_record().start_ticks == record.start_ticks


def test_a_later_process_with_the_same_pid_is_another_one() -> None:
    record = own_record()
    assert not is_alive(msgspec.structs.replace(record, start_ticks=record.start_ticks - 1))


def test_a_plane_has_ended_when_no_process_is_it_any_more(tmp_path: Path) -> None:
    runtime = RuntimeDir(tmp_path)
    runtime.planes.mkdir(parents=True)
    with child() as process:
        plane = PlaneIdentity(id="p", slot=0, pid=process.pid, version="", started=0.0)
        assert not has_ended(runtime, plane), "its record can not be read, and it runs"
        record = PlaneRecord(identity=plane, process=record_of(process.pid), fingerprint="")
        write_record(runtime.plane("p"), record)
        assert not has_ended(runtime, plane)
    assert has_ended(runtime, plane)
    runtime.plane("p").unlink()
    assert has_ended(runtime, plane)


def test_the_parent_started_before_its_child() -> None:
    own = start_ticks(os.getpid())
    assert own is not None
    with child() as process:
        assert record_of(process.pid).start_ticks >= own


def test_a_dead_process_is_not_alive() -> None:
    with child() as process:
        record = record_of(process.pid)
        assert is_alive(record)
        process.kill()
        process.wait()
        assert start_ticks(process.pid) is None
        assert not is_alive(record)


def test_a_zombie_is_not_alive() -> None:
    with child() as process:
        record = record_of(process.pid)
        process.kill()
        # Until it has ended, without taking its exit status: it stays a zombie.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert start_ticks(process.pid) is None
        assert not is_alive(record)


@pytest.mark.parametrize("pid", [0, -1, 2**31 - 1])
def test_a_pid_that_nobody_has(pid: int) -> None:
    assert start_ticks(pid) is None


@pytest.mark.parametrize(
    "name",
    [
        b"plain",
        b"two words",
        b") Z 1 2",
        b"((((",
        b"))))",
        b") R (x) Z",
        b"tab\tline\nend",
        "ärger".encode(),
        # The kernel cuts names after 15 bytes, in the middle of a character if it comes so.
        ("x" * 14 + "ä").encode(),
        b"\xff\xfe",
    ],
)
def test_odd_process_names(name: bytes) -> None:
    with child(name) as process:
        record = record_of(process.pid)
        assert record.start_ticks >= own_record().start_ticks
        assert is_alive(record)
