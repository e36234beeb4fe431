"""The supervisor over processes that misbehave: stand-ins that exit, ignore signals or never serve."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from controlplane.children import Commands, Spawner
from controlplane.opening import EarlySignals, Opening, open_router
from controlplane.preflight import survey
from controlplane.supervisor import Supervisor
from shared.config import StartConfig
from shared.plane_fingerprint import plane_fingerprint
from shared.process import start_ticks
from shared.runtime_dir import RuntimeDir
from tests.integration.routers import PATIENCE

CONFIG = StartConfig(data_planes=1, shutdown_grace_secs=0.0)
SLEEPS = (sys.executable, "-S", "-c", "import time; time.sleep(600)")
IGNORES_SIGTERM = (
    sys.executable,
    "-S",
    "-c",
    "import signal, sys, time; signal.signal(15, 1); open(sys.argv[1], 'w'); time.sleep(600)",
)


def exits(code: int) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", f"raise SystemExit({code})")


class Harness:
    """Runs a supervisor in this process over stand-in commands."""

    def __init__(
        self, folder: Path, control_plane: tuple[str, ...], plane: tuple[str, ...], config: StartConfig = CONFIG
    ) -> None:
        self.runtime = RuntimeDir(folder / "run")
        self.runtime.prepare()
        self.early = EarlySignals()
        self._config = config
        self._spawner = Spawner(self.runtime, Commands(control_plane, plane), plane_fingerprint(config))
        self.opening: Opening = open_router(
            config, self.runtime, survey(self.runtime, config.data_planes), self._spawner
        )

    def run(self, until: Callable[[], bool] = lambda: False) -> int:
        """Run until it ends by itself, or `until` holds and it gets SIGTERM; return the exit code."""
        return asyncio.run(self._run(until))

    async def _run(self, until: Callable[[], bool]) -> int:
        supervisor = Supervisor(self._config, self.runtime, self._spawner, self.opening)
        running = asyncio.create_task(supervisor.run(self.early))
        async with asyncio.timeout(PATIENCE):
            # Before it has its handler a signal would end the tests.
            while not running.done() and (not self._is_caught() or not until()):  # noqa: ASYNC110 - files and logs tell
                await asyncio.sleep(0.02)
            if not running.done():
                signal.raise_signal(signal.SIGTERM)
            return await running

    @staticmethod
    def _is_caught() -> bool:
        return signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL

    def pids(self) -> list[int]:
        control_plane = self.opening.control_plane
        assert control_plane is not None
        return [control_plane.pid, *(plane.process.pid for plane in self.opening.planes.values())]


def test_a_crash_loop_backs_off_and_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness(tmp_path, SLEEPS, exits(3))
    with caplog.at_level(logging.INFO):
        assert harness.run(until=lambda: "(death 3 in a row)" in caplog.text) == 0
    deaths = [record.getMessage() for record in caplog.records if "exited with code 3" in record.getMessage()]
    pauses = ["now", "in 0.5 s (death 2 in a row)", "in 1 s (death 3 in a row)"]
    assert [death.partition("starting another ")[2] for death in deaths] == pauses


@pytest.mark.parametrize("who", ["control plane", "plane"])
def test_a_configuration_that_a_child_refuses_ends_the_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, who: str
) -> None:
    commands = (exits(2), SLEEPS) if who == "control plane" else (SLEEPS, exits(2))
    harness = Harness(tmp_path, *commands)
    assert harness.run() == 2
    assert "refuses its configuration" in caplog.text
    assert all(start_ticks(pid) is None for pid in harness.pids())


def test_a_plane_that_ignores_sigterm_is_killed_after_the_grace_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deaf = tmp_path / "deaf"
    harness = Harness(tmp_path, SLEEPS, (*IGNORES_SIGTERM, str(deaf)))
    assert harness.run(until=deaf.exists) == 1
    assert "1 of 2 processes did not end in time and were killed" in caplog.text
    assert all(start_ticks(pid) is None for pid in harness.pids())


def test_a_signal_before_the_loop_runs_leaves_no_child(tmp_path: Path) -> None:
    harness = Harness(tmp_path, SLEEPS, SLEEPS)
    harness.early.caught.append(signal.SIGTERM)
    assert harness.run() == 0
    assert all(start_ticks(pid) is None for pid in harness.pids())


def test_a_failed_start_leaves_planes_that_served_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # A first supervisor whose planes stay behind: it is only opened, as if it had been killed then.
    first = Harness(tmp_path, SLEEPS, SLEEPS)
    pids = first.pids()
    try:
        second = Harness(tmp_path, exits(2), SLEEPS)
        assert second.opening.predecessor is not None
        assert second.run() == 2
        assert start_ticks(pids[1]) is not None
        assert "goes on as before" in caplog.text
    finally:
        for process in (first.opening.control_plane, first.opening.planes[0].process):
            assert process is not None
            assert process.popen is not None
            process.popen.kill()
            process.popen.wait()


def test_a_signal_while_a_failed_start_ends_leaves_them_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = Harness(tmp_path, SLEEPS, SLEEPS)
    deaf = tmp_path / "deaf"
    waits_and_refuses = (
        f"import os, time\nwhile not os.path.exists({str(deaf)!r}): time.sleep(0.01)\nraise SystemExit(2)"
    )
    try:
        second = Harness(
            tmp_path,
            (sys.executable, "-S", "-c", waits_and_refuses),
            (*IGNORES_SIGTERM, str(deaf)),
            msgspec.structs.replace(CONFIG, data_planes=2),
        )
        assert second.run(until=lambda: "refuses its configuration" in caplog.text) == 2
        assert "SIGTERM again" in caplog.text
        assert start_ticks(second.opening.planes[1].process.pid) is None
        left = first.opening.planes[0].process.popen
        assert left is not None
        left.terminate()
        assert left.wait() == -signal.SIGTERM, "it was killed before"
    finally:
        for process in (first.opening.control_plane, first.opening.planes[0].process):
            assert process is not None
            assert process.popen is not None
            process.popen.kill()
            process.popen.wait()


def test_a_folder_of_a_dead_router_is_cleaned(tmp_path: Path) -> None:
    harness = Harness(tmp_path, SLEEPS, SLEEPS)
    plane = harness.opening.planes[0]
    leftover = harness.runtime.plane_socket(plane.identity.id)
    leftover.touch()
    record = harness.runtime.plane(plane.identity.id)
    content = record.read_bytes()
    harness.early.caught.append(signal.SIGTERM)
    harness.run()
    assert not leftover.exists()
    leftover.touch()
    record.write_bytes(content)
    again = Harness(tmp_path, SLEEPS, SLEEPS)
    again.early.caught.append(signal.SIGTERM)
    try:
        assert again.opening.is_first_start
        assert not leftover.exists()
        assert not record.exists()
        assert msgspec.json.decode(again.runtime.config.read_bytes(), type=StartConfig) == CONFIG
    finally:
        again.run()
