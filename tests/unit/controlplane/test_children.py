import errno
import os
import sys
from pathlib import Path

import pytest

from controlplane.children import Commands, Spawner
from shared.process import start_ticks
from shared.runtime_dir import RuntimeDir

SLEEPS = (sys.executable, "-S", "-c", "import time; time.sleep(600)")


def test_a_process_that_can_not_be_watched_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = RuntimeDir(tmp_path / "run")
    runtime.prepare()
    pids = []

    def full(pid: int) -> int:
        pids.append(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", full)
    with pytest.raises(OSError, match="Too many open files"):
        Spawner(runtime, Commands(SLEEPS, SLEEPS), "").plane(0)
    assert [start_ticks(pid) for pid in pids] == [None]
