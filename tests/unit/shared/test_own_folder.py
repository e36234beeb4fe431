"""What a process does with the folder that it starts in."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec
import pytest

from shared.config import StartConfig
from shared.own_folder import begin_in, hold
from shared.runtime_dir import RuntimeDir, RuntimeDirError


def is_left_alone(folder: Path) -> bool:
    """Whether systemd-tmpfiles would leave the folder out: it asks for this lock, and goes on where it gets none."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_the_folder_is_held_by_all_until_the_last_one_ends(tmp_path: Path) -> None:
    assert not is_left_alone(tmp_path)
    held = [hold(RuntimeDir(tmp_path)), hold(RuntimeDir(tmp_path))]
    for descriptor in held:
        assert descriptor is not None
        assert is_left_alone(tmp_path)
        os.close(descriptor)
    assert not is_left_alone(tmp_path)


def test_a_cleaner_that_is_at_it_hinders_nobody(tmp_path: Path) -> None:
    cleaner = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(cleaner, fcntl.LOCK_EX)
    assert hold(RuntimeDir(tmp_path)) is None
    os.close(cleaner)


def test_a_process_begins_with_the_configuration_that_is_there(tmp_path: Path) -> None:
    runtime = RuntimeDir(tmp_path)
    runtime.config.write_bytes(msgspec.json.encode(StartConfig(port=31_000)))
    assert begin_in(runtime).port == 31_000
    assert is_left_alone(tmp_path)


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_folder_that_was_taken_away_is_told_with_what_to_do(tmp_path: Path, is_whole: bool) -> None:
    runtime = RuntimeDir(tmp_path / "run")
    if is_whole:
        runtime.path.mkdir()
    with pytest.raises(RuntimeDirError, match="Something removed it while the router ran") as raised:
        begin_in(runtime)
    assert "start it again, with a --runtime-dir where old files stay" in str(raised.value)


def test_a_configuration_of_other_code_is_told(tmp_path: Path) -> None:
    runtime = RuntimeDir(tmp_path)
    runtime.config.write_bytes(b"{")
    with pytest.raises(RuntimeDirError, match="can not be read"):
        begin_in(runtime)
