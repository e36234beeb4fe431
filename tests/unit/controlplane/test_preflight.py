import os
from pathlib import Path

import pytest

from controlplane.preflight import CanNotStart, check_log_folder, take_lock
from shared.config import StartConfig
from shared.runtime_dir import RuntimeDir


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
