from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from controlplane.supervisor_watch import SupervisorWatch
from shared.process import start_ticks
from shared.runtime_dir import RuntimeDir, SupervisorRecord, write_record


def test_it_is_said_once_that_the_supervisor_is_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    runtime = RuntimeDir(tmp_path)
    watch = SupervisorWatch(runtime)

    def look(record: SupervisorRecord | None) -> list[str]:
        caplog.clear()
        if record is not None:
            write_record(runtime.supervisor, record)
        watch.look()
        watch.look()
        return [one.getMessage() for one in caplog.records]

    pid, ticks = os.getpid(), start_ticks(os.getpid())
    assert ticks is not None
    living = SupervisorRecord(pid=pid, start_ticks=ticks, version="0", started=0.0)
    dead = replace(living, start_ticks=ticks + 1)
    assert look(None) == []
    assert look(living) == []
    gone = f"supervisor (pid {pid}) is gone: nothing restarts what dies until `routerctl start` takes over"
    assert look(dead) == [gone]
    assert look(living) == [f"supervisor (pid {pid}) runs"]
