"""The runtime folder: private, short enough for sockets, and written so that readers see whole files."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import msgspec
import pytest

from shared.plane_identity import PlaneIdentity
from shared.runtime_dir import (
    PlaneRecord,
    ProcessRecord,
    RuntimeDir,
    RuntimeDirError,
    default_runtime_dir,
    read_record,
    write_atomically,
    write_record,
)

PROCESS = ProcessRecord(pid=5, start_ticks=77, version="0.1.0", started=1.5)
PLANE_ID = "0123456789abcdef"
PLANE = PlaneRecord(
    process=PROCESS,
    identity=PlaneIdentity(id=PLANE_ID, slot=0, pid=5, version="0.1.0", started=1.5),
    fingerprint="f",
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- the folder ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_a_new_folder_is_private_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    folder = RuntimeDir(tmp_path / "a" / "b")
    before = os.umask(mask)
    try:
        folder.prepare()
    finally:
        os.umask(before)
    assert mode(folder.path) == 0o700
    assert mode(folder.planes) == 0o700


def test_a_folder_that_is_there_is_used_again(tmp_path: Path) -> None:
    folder = RuntimeDir(tmp_path / "r")
    folder.prepare()
    write_record(folder.plane(PLANE_ID), PLANE)
    folder.prepare()
    assert read_record(folder.plane(PLANE_ID), PlaneRecord) == PLANE


@pytest.mark.parametrize("bits", [0o777, 0o750, 0o705, 0o710, 0o701, 0o720])
def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "r"
    path.mkdir()
    path.chmod(bits)
    with pytest.raises(RuntimeDirError) as caught:
        RuntimeDir(path).prepare()
    assert f"chmod 700 {path}" in str(caught.value)
    assert f"{bits:04o}" in str(caught.value)
    assert mode(path) == bits


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    with pytest.raises(RuntimeDirError, match=f"belongs to user id {own}, not to you"):
        RuntimeDir(tmp_path / "r").prepare()


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_path_that_can_be_no_folder_is_refused_with_the_cause(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeDirError) as caught:
        RuntimeDir(tmp_path / name).prepare()
    assert str(tmp_path / name) in str(caught.value)
    assert "--runtime-dir" in str(caught.value)


def of_length(base: Path, length: int) -> Path:
    """Return a path below `base` of that many bytes."""
    path = base
    while (left := length - len(os.fsencode(path)) - 1) > 0:
        path = path / ("x" * min(left, 40) if left - min(left, 40) != 1 else "x" * (min(left, 40) - 1))
    assert len(os.fsencode(path)) == length
    return path


def test_a_path_too_long_for_sockets_is_refused_by_how_much(tmp_path: Path) -> None:
    longest = 107 - len(f"/plane-{PLANE_ID}.ipc")
    folder = RuntimeDir(of_length(tmp_path, longest))
    folder.prepare()
    # The kernel takes the longest of its sockets, and not one byte more.
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(folder.plane_endpoint(PLANE_ID).removeprefix("ipc://"))
    with socket.socket(socket.AF_UNIX) as server, pytest.raises(OSError, match="too long"):
        server.bind(folder.plane_endpoint(PLANE_ID).removeprefix("ipc://") + "x")
    for excess in (1, 30):
        with pytest.raises(RuntimeDirError, match=f"is {excess} bytes too long for the sockets"):
            RuntimeDir(of_length(tmp_path, longest + excess)).prepare()


def test_the_length_counts_bytes_not_characters(tmp_path: Path) -> None:
    path = of_length(tmp_path, 107 - len(f"/plane-{PLANE_ID}.ipc"))
    with pytest.raises(RuntimeDirError, match=f"is {len(path.name)} bytes too long"):
        RuntimeDir(path.with_name("ä" * len(path.name))).prepare()


def test_plane_id_gives_the_longest_name(tmp_path: Path) -> None:
    folder = RuntimeDir(tmp_path)
    longest = len(folder.plane_endpoint(PLANE_ID))
    assert longest >= max(len(folder.publish_endpoint), len(folder.control_endpoint))
    assert folder.plane_endpoint(PLANE_ID) == f"ipc://{folder.plane_socket(PLANE_ID)}"


def test_the_default_is_a_folder_per_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert default_runtime_dir(8000) == tmp_path / "routerctl" / "8000"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert default_runtime_dir(8000) == tmp_path / f"routerctl-{os.getuid()}" / "8000"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    assert default_runtime_dir(1) == tmp_path / f"routerctl-{os.getuid()}" / "1"


def test_no_two_things_share_a_name(tmp_path: Path) -> None:
    folder = RuntimeDir(tmp_path)
    paths = [
        folder.config,
        folder.lock,
        folder.supervisor,
        folder.control_plane,
        folder.control_plane_lock,
        folder.table,
        folder.epoch,
        folder.planes,
        folder.plane_socket("x"),
    ]
    assert len(set(paths)) == len(paths)


# --- files -----------------------------------------------------------------------------------------------


def test_a_file_is_private_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "f"
    for data in (b"a" * 100_000, b"", b"b"):
        write_atomically(path, data)
        assert path.read_bytes() == data
        assert mode(path) == 0o600
        assert os.listdir(tmp_path) == ["f"]


def test_a_reader_sees_the_old_content_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "f"
    contents = {bytes([number]) * 200_000 for number in range(2)}
    write_atomically(path, next(iter(contents)))
    ended = threading.Event()
    seen: set[bytes] = set()

    def read() -> None:
        while not ended.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(50):
            for content in contents:
                write_atomically(path, content)
    finally:
        ended.set()
        reader.join()
    assert seen <= contents


def test_a_write_that_fails_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f"
    write_atomically(path, b"old")

    def crash(*_: object) -> None:
        raise OSError("crash")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", crash)
        with pytest.raises(OSError, match="crash"):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    write_atomically(path, b"newer")
    assert path.read_bytes() == b"newer"


def test_a_record_comes_back(tmp_path: Path) -> None:
    write_record(tmp_path / "p", PLANE)
    assert read_record(tmp_path / "p", PlaneRecord) == PLANE
    assert msgspec.json.decode((tmp_path / "p").read_bytes())["process"]["pid"] == 5


@pytest.mark.parametrize(
    "data", [b"", b"{", b"null", b"{}", b'{"pid":"x"}', b"\xff", b'{"pid":1,"start_ticks":1,"version":"\xff"}']
)
def test_a_damaged_record_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "p").write_bytes(data)
    assert read_record(tmp_path / "p", ProcessRecord) is None


def test_a_missing_record_is_none(tmp_path: Path) -> None:
    assert read_record(tmp_path / "p", ProcessRecord) is None
    (tmp_path / "d").mkdir()
    assert read_record(tmp_path / "d", ProcessRecord) is None


def test_folders_on_the_way_are_private_too(short_path: Path) -> None:
    RuntimeDir(short_path / "a" / "b" / "run").prepare()
    assert [stat.S_IMODE((short_path / name).stat().st_mode) for name in ("a", "a/b", "a/b/run")] == [0o700] * 3


@pytest.mark.parametrize(("mode", "safe"), [(0o755, True), (0o1777, True), (0o777, False), (0o775, False)])
def test_a_folder_that_others_may_replace_is_refused(short_path: Path, mode: int, safe: bool) -> None:
    above = short_path / "above"
    above.mkdir()
    above.chmod(mode)
    if safe:
        RuntimeDir(above / "run").prepare()
    else:
        with pytest.raises(RuntimeDirError, match="other users may replace it"):
            RuntimeDir(above / "run").prepare()
