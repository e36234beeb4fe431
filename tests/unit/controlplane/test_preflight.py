import os
from pathlib import Path

import pytest

from controlplane.preflight import CanNotStart, take_lock
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
