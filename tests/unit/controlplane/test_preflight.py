import errno
import os
import subprocess
from pathlib import Path

import pytest

from controlplane.preflight import CanNotStart, check_log_folder, take_lock, why_not_started
from shared.config import StartConfig
from shared.runtime_dir import RuntimeDir, write_atomically


def prepared(folder: Path) -> RuntimeDir:
    runtime = RuntimeDir(folder / "run")
    runtime.prepare()
    return runtime


def test_the_lock_names_its_holder_to_the_next_one(tmp_path: Path) -> None:
    runtime = prepared(tmp_path)
    runtime.lock.write_text("12345678901 of an earlier holder")
    with take_lock(runtime), pytest.raises(CanNotStart, match=rf"supervisor: process {os.getpid()}\)"):
        take_lock(runtime)


def test_a_lock_that_can_not_be_opened_is_explained(tmp_path: Path) -> None:
    runtime = prepared(tmp_path)
    runtime.lock.mkdir()
    with pytest.raises(CanNotStart, match=r"supervisor\.lock: Is a directory; give another folder with --runtime-dir"):
        take_lock(runtime)


def test_a_log_folder_is_made_with_its_files(tmp_path: Path) -> None:
    check_log_folder(StartConfig())
    check_log_folder(StartConfig(log_dir=str(tmp_path / "new" / "logs")))
    names = {"vllm-router.log", "vllm-router-error.log", "vllm-router-structured.log"}
    assert {file.name for file in (tmp_path / "new" / "logs").iterdir()} == names


def test_a_log_folder_that_can_not_be_written_to_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "logs"):
        with pytest.raises(CanNotStart, match=rf"--log-dir {path}: .*; give a folder that this user may write to"):
            check_log_folder(StartConfig(log_dir=str(path)))


def test_a_log_folder_s_path_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for given in (f"{tmp_path}/file", f"{tmp_path}/file/"):
        with pytest.raises(CanNotStart) as refused:
            check_log_folder(StartConfig(log_dir=given))
        assert str(refused.value).count("file:") + str(refused.value).count("file/:") == 1


def test_a_process_that_can_not_be_started_is_not_blamed_on_the_folder(tmp_path: Path) -> None:
    runtime = prepared(tmp_path)
    program = tmp_path / "python"
    program.write_text("not to be run")
    with pytest.raises(OSError, match="Permission denied") as raised:
        subprocess.Popen([str(program)])
    assert why_not_started(runtime, raised.value) == (
        f"{program} can not be started: Permission denied; see that this user may read and run it"
    )
    text = why_not_started(runtime, BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)))
    assert text.startswith("no process can be started: Resource temporarily unavailable; ")


def test_files_that_can_not_be_written_are_the_folder_s_fault(tmp_path: Path) -> None:
    runtime = prepared(tmp_path)
    runtime.sources.mkdir()
    with pytest.raises(OSError, match="Is a directory") as raised:
        write_atomically(runtime.sources, b"")
    for error in (raised.value, OSError(errno.ENOSPC, "No space left on device")):
        assert why_not_started(runtime, error) == (
            f"runtime folder {runtime.path}: {error.strerror}; give another one with --runtime-dir"
        )
