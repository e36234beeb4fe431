"""Real routers and simulated fleets as processes, each ended by its pid whatever a test does."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from shared.process import is_alive
from shared.runtime_dir import PlaneRecord, ProcessRecord, RuntimeDir, read_record

PATIENCE = 30.0
"""Seconds after which a state that did not come fails the test: far above what a busy machine needs."""


def eventually(condition: Callable[[], bool], what: str, within: float = PATIENCE) -> None:
    """Wait for a state. Fewer seconds than `PATIENCE` are for tests of a promised time, which are slow ones."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, below those that the kernel gives to clients: one of them could take it meanwhile."""
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            probe = stack.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind(("127.0.0.1", random.randrange(10_000, 30_000)))
                ports.append(probe.getsockname()[1])
        return ports


class Router:
    """`routerctl start` on a runtime folder; it may be started there again and again."""

    def __init__(
        self, folder: Path, *arguments: str, wrapper: tuple[str, ...] = (), policy: str | None = "round_robin"
    ) -> None:
        """`wrapper` is a command that starts another one, such as prlimit.

        Most tests send equal requests and want every worker to get some, so the default of `policy` is not the
        router's; None is for those that set it elsewhere.
        """
        self.folder = folder
        self.runtime = RuntimeDir(folder / "run")
        self.port, self.admin_port, self.prometheus_port = free_ports(3)
        self.arguments = arguments if policy is None else (f"--policy={policy}", *arguments)
        self._wrapper = wrapper
        self.starts = 0
        self._files: list[IO[bytes]] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._seen: set[ProcessRecord] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self._processes[-1]

    def start(self, *arguments: str) -> Self:
        """Start it, without waiting."""
        self.starts += 1
        # Planes outlive the supervisor and would hold a pipe open; files do not care.
        streams = [open(self.folder / f"{name}-{self.starts}", "wb") for name in ("out", "err")]  # noqa: SIM115
        self._files += streams
        own = (
            f"--port={self.port}",
            f"--admin-port={self.admin_port}",
            f"--prometheus-port={self.prometheus_port}",
            f"--runtime-dir={self.runtime.path}",
        )
        start = (sys.executable, "-m", "controlplane.cli", "start")
        command = (*self._wrapper, *start, *own, *self.arguments, *arguments)
        self._processes.append(subprocess.Popen(command, stdout=streams[0], stderr=streams[1]))
        return self

    def ready(self) -> str:
        """Wait for the ready line and return it."""
        eventually(lambda: "\n" in self.output or self.process.poll() is not None, "the ready line")
        assert self.output.startswith("ready: "), self.errors
        return self.output.strip()

    @property
    def output(self) -> str:
        return (self.folder / f"out-{self.starts}").read_text()

    @property
    def errors(self) -> str:
        return (self.folder / f"err-{self.starts}").read_text()

    @property
    def supervisor_lines(self) -> list[str]:
        """What the supervisor itself logged, without time and level."""
        return [line.split(" supervisor: ", 1)[1] for line in self.errors.splitlines() if " supervisor: " in line]

    def plane_pids(self) -> set[int]:
        """Pids of the planes that run."""
        return {record.pid for record in self._running() if record.pid != self.control_plane_pid()}

    def control_plane_pid(self) -> int | None:
        record = read_record(self.runtime.control_plane, ProcessRecord)
        return record.pid if record is not None and is_alive(record) else None

    def _running(self) -> list[ProcessRecord]:
        planes = [read_record(path, PlaneRecord) for path in self.runtime.planes.glob("*.json")]
        control = read_record(self.runtime.control_plane, ProcessRecord)
        records = [plane.process for plane in planes if plane is not None]
        records += [control] if control is not None else []
        self._seen.update(records)
        return [record for record in records if is_alive(record)]

    def survivors(self) -> list[ProcessRecord]:
        """Every process of this router that was ever seen and still runs."""
        self._running()
        return [record for record in self._seen if is_alive(record)]

    def kill_supervisor(self) -> None:
        self._running()
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        self._running()
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """End whatever is left, supervisors first so that they replace nothing."""
        self._running()
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for record in self.survivors():
            with suppress(ProcessLookupError):
                os.kill(record.pid, signal.SIGKILL)
        for file in self._files:
            file.close()


@contextmanager
def router_before(
    folder: Path, workers: list[str], *arguments: str, wrapper: tuple[str, ...] = (), planes: int = 1
) -> Iterator[Router]:
    """A ready router in front of these workers."""
    router = Router(folder, f"--data-planes={planes}", *arguments, "--worker-urls", *workers, wrapper=wrapper)
    try:
        router.start().ready()
        yield router
    finally:
        router.close()


def samples(router: Router) -> dict[str, float]:
    """The router's metrics, each summed over its labels."""
    text = httpx.get(f"http://127.0.0.1:{router.prometheus_port}/metrics", trust_env=False).text
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


@contextmanager
def simulated_fleet(folder: Path, count: int, *arguments: str) -> Iterator[list[str]]:
    """Run simulated workers on ports of their choice; yields their URLs once they listen."""
    command = (sys.executable, "-u", "-m", "controlplane.sim", "--port=0", f"--count={count}", *arguments)
    with open(folder / "fleet", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            said = folder / "fleet"
            eventually(
                lambda: said.read_text().count(" ready at ") == count or process.poll() is not None,
                "the simulated fleet",
            )
            assert process.poll() is None, said.read_text()
            yield worker_urls(said.read_text())
        finally:
            process.kill()
            process.wait()


def worker_urls(said: str) -> list[str]:
    """Read the workers' URLs out of what a simulated fleet printed."""
    return re.findall(r" ready at (\S+)", said)
