"""A control plane and planes without a supervisor: what a test kills stays dead, what it stops stays stopped."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import msgspec

from controlplane.children import Commands, Plane, Process, Spawner, own_commands
from controlplane.inquiry import control_status, plane_status
from controlplane.last_known_good import read_table
from shared.config import StartConfig
from shared.messages import ControlStatus, PlaneStatus
from shared.plane_fingerprint import plane_fingerprint
from shared.runtime_dir import RuntimeDir
from shared.sockets import Context
from shared.table import Worker
from tests.integration.routers import PATIENCE, eventually, free_ports

T = TypeVar("T")

ANSWER_TIMEOUT = 1.0
"""Seconds until a process counts as one that does not answer."""


class Crew:
    """One control plane and some planes on a runtime folder, each started and ended by hand."""

    def __init__(self, folder: Path, workers: list[str], **config: Any) -> None:
        """`config` are fields of `StartConfig`."""
        self.runtime = RuntimeDir(folder / "run")
        self.runtime.prepare()
        port, admin_port, prometheus_port = free_ports(3)
        self.config = StartConfig(
            port=port,
            admin_port=admin_port,
            prometheus_port=prometheus_port,
            worker_urls=tuple(workers),
            **config,
        )
        self.runtime.config.write_bytes(msgspec.json.encode(self.config))
        self.planes: list[Plane] = []
        self.control_planes: list[Process] = []
        self._folders: dict[str, RuntimeDir] = {}
        self.log = folder / "crew.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.config.port}"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.config.admin_port}"

    @property
    def control_plane(self) -> Process:
        """The newest one."""
        return self.control_planes[-1]

    @property
    def logged(self) -> str:
        """What all processes logged."""
        return self.log.read_text()

    def start_control_plane(self) -> Process:
        self.control_planes.append(self._spawn(lambda: self._spawner(self.runtime).control_plane()))
        return self.control_plane

    def start_plane(self, folder: RuntimeDir | None = None) -> Plane:
        """Start a plane; it may have a runtime folder of its own, whose parts lead to the common one."""
        runtime = folder or self.runtime
        plane = self._spawn(lambda: self._spawner(runtime).plane(len(self.planes)))
        self.planes.append(plane)
        self._folders[plane.identity.id] = runtime
        return plane

    def start(self, planes: int) -> Self:
        """Start a control plane and planes, and wait until each serves every worker."""
        self.start_control_plane()
        for _ in range(planes):
            self.start_plane()
        self.ready()
        return self

    def ready(self) -> None:
        """Wait until every plane listens and knows all workers to be ready."""
        count = len(self.config.worker_urls)
        eventually(
            lambda: self.all_planes(lambda told: told.listening and told.ready_workers == count), "planes with workers"
        )

    def _spawner(self, runtime: RuntimeDir) -> Spawner:
        # Records and configuration are common; where the sockets are is told by the commands.
        commands = Commands(own_commands(self.runtime).control_plane, own_commands(runtime).plane)
        return Spawner(self.runtime, commands, plane_fingerprint(self.config))

    def _spawn(self, start: Callable[[], T]) -> T:
        # Children inherit stderr: it is a file for the moment of their start.
        saved = os.dup(2)
        with open(self.log, "ab") as log:
            os.dup2(log.fileno(), 2)
            try:
                return start()
            finally:
                os.dup2(saved, 2)
                os.close(saved)

    # --- what they say ---------------------------------------------------------------------------------

    def status(self, plane: Plane) -> PlaneStatus | None:
        """How a plane is; None when it does not answer."""
        folder = self._folders[plane.identity.id]
        return _ask(lambda context: plane_status(context, folder, plane.identity.id, timeout=ANSWER_TIMEOUT))

    def statuses(self) -> list[PlaneStatus]:
        """How the planes are that answer."""
        return [told for plane in self.planes if (told := self.status(plane)) is not None]

    def all_planes(self, condition: Callable[[PlaneStatus], bool]) -> bool:
        """Whether every plane answers, and so."""
        told = self.statuses()
        return len(told) == len(self.planes) and all(map(condition, told))

    def control(self) -> ControlStatus | None:
        """How the control plane is; None when it does not answer."""
        return _ask(lambda context: control_status(context, self.runtime, timeout=ANSWER_TIMEOUT))

    def is_administered(self) -> bool:
        """Whether the admin API answers."""
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.admin}/status", trust_env=False).status_code == 200
        return False

    def are_level(self) -> bool:
        """Whether every plane serves the control plane's table."""
        control = self.control()
        return control is not None and self.all_planes(lambda told: told.table == control.stamp and not told.stale)

    def level(self) -> None:
        """Wait for that."""
        eventually(self.are_level, "every plane to serve the control plane's table")

    def kept(self) -> dict[str, Worker]:
        """The workers of the table on disk."""
        table = read_table(self.runtime)
        return {} if table is None else table.workers

    def scraped(self) -> dict[str, float]:
        """The control plane's metrics by their whole names."""
        url = f"http://127.0.0.1:{self.config.prometheus_port}/metrics"
        lines = httpx.get(url, trust_env=False).text.splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")}

    # --- what is done to them --------------------------------------------------------------------------

    def change(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Ask the admin API for a change, once it is there."""
        eventually(self.is_administered, "the admin API")
        return httpx.request(method, f"{self.admin}{path}", trust_env=False, timeout=PATIENCE, **arguments)

    def kill(self, process: Process) -> None:
        """SIGKILL, and wait for its end."""
        process.send(signal.SIGKILL)
        assert process.popen is not None
        process.popen.wait()

    def close(self) -> None:
        """End all of them, stopped ones too."""
        for process in (*self.control_planes, *(plane.process for plane in self.planes)):
            self.kill(process)
            with suppress(OSError):
                os.close(process.pidfd)


def stop(process: Process) -> None:
    """SIGSTOP, and wait until it stands."""
    process.send(signal.SIGSTOP)
    eventually(lambda: state_of(process.pid) == "T", "the process to stand")


def state_of(pid: int) -> str:
    """One letter, as in ps(1)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def go_on(process: Process) -> None:
    """SIGCONT."""
    process.send(signal.SIGCONT)


def _ask(question: Callable[[Context], Awaitable[T]]) -> T:
    async def ask() -> T:
        context = Context()
        try:
            return await question(context)
        finally:
            context.destroy(linger=0)

    return asyncio.run(ask())
