import errno
import os
import signal
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


def test_a_reload_that_is_asked_for_too_early_does_not_end_the_control_plane(tmp_path: Path) -> None:
    runtime = RuntimeDir(tmp_path / "run")
    runtime.prepare()
    process = Spawner(runtime, Commands(SLEEPS, SLEEPS), "").control_plane()
    assert process.popen is not None
    try:
        process.send(signal.SIGHUP)
        pending = f"{1 << (signal.SIGHUP - 1):016x}"
        status = Path(f"/proc/{process.pid}/status").read_text().split("\n")
        assert any(line.startswith(("ShdPnd:", "SigPnd:")) and line.endswith(pending) for line in status)
        assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        process.popen.kill()
        process.popen.wait()
        os.close(process.pidfd)
