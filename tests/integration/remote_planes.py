"""Planes on another host, as processes: `routerctl plane` on a runtime folder of its own, and the keys they need."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec

from shared.process import is_alive
from shared.runtime_dir import PlaneRecord, RuntimeDir, read_record
from tests.integration.commands import routerctl
from tests.integration.routers import PATIENCE, Router, eventually, free_ports


def new_keys(folder: Path, *names: str) -> Path:
    """Make pairs of these names in the folder; returns the folder."""
    made = routerctl("keys", "new", f"--dir={folder}", *names)
    assert made.returncode == 0, made.stderr
    return folder


class PlaneHost:
    """`routerctl plane`; its processes are ended by `close` whatever a test does."""

    def __init__(
        self,
        folder: Path,
        control: str,
        keys: Path,
        server_key: Path,
        *arguments: str,
        name: str = "far",
        host: str = "127.0.0.1",
        wrapper: tuple[str, ...] = (),
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.name = name
        self.runtime = RuntimeDir(folder / "r")
        self.host = host
        self.port = free_ports(1)[0]
        self.starts = 0
        self._command = (
            *wrapper,
            *(sys.executable, "-m", "controlplane.cli", "plane"),
            f"--control={control}",
            f"--keys={keys}",
            f"--server-key={server_key}",
            f"--name={name}",
            f"--host={host}",
            f"--port={self.port}",
            f"--runtime-dir={self.runtime.path}",
            "--data-planes=1",
            *arguments,
        )
        self._processes: list[subprocess.Popen[bytes]] = []
        self._seen: set[PlaneRecord] = set()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self._processes[-1]

    @property
    def output(self) -> str:
        return (self.folder / f"out-{self.starts}").read_text()

    @property
    def errors(self) -> str:
        return (self.folder / f"err-{self.starts}").read_text()

    def start(self, *arguments: str) -> PlaneHost:
        self.starts += 1
        out, err = (self.folder / f"{stream}-{self.starts}" for stream in ("out", "err"))
        with out.open("wb") as said, err.open("wb") as logged:
            self._processes.append(subprocess.Popen((*self._command, *arguments), stdout=said, stderr=logged))
        return self

    def ready(self) -> PlaneHost:
        eventually(lambda: "\n" in self.output or self.process.poll() is not None, "the planes' ready line")
        assert self.output.startswith("ready: "), self.errors
        return self

    def planes(self) -> list[PlaneRecord]:
        """The planes that run."""
        records = [read_record(path, PlaneRecord) for path in self.runtime.planes.glob("*.json")]
        found = [record for record in records if record is not None]
        self._seen.update(found)
        return [record for record in found if is_alive(record.process)]

    def stop(self) -> int:
        self.planes()
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        self.planes()
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.planes()
        for record in self._seen:
            if is_alive(record.process):
                with suppress(ProcessLookupError):
                    os.kill(record.process.pid, signal.SIGKILL)


@contextmanager
def plane_host(*arguments: Any, **named: Any) -> Iterator[PlaneHost]:
    """A `PlaneHost` that was started and is ended after the block."""
    host = PlaneHost(*arguments, **named)
    try:
        yield host.start()
    finally:
        host.close()


class Site:
    """A router that lets planes on other hosts in, and its folder of keys."""

    def __init__(self, folder: Path, workers: list[str], *arguments: str, policy: str | None = "round_robin") -> None:
        self.folder = folder
        self.keys = new_keys(folder / "keys", "server", "far")
        while True:
            # The next port is used, too.
            self.port = free_ports(1)[0]
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port + 1)):
                    break
        self.control = f"tcp://127.0.0.1:{self.port}"
        self.router = Router(
            folder,
            "--data-planes=1",
            f"--control-bind={self.control}",
            f"--control-keys={self.keys}",
            *arguments,
            "--worker-urls",
            *workers,
            policy=policy,
        )

    @property
    def own_key(self) -> Path:
        return self.keys / "far.key_secret"

    @property
    def server_key(self) -> Path:
        return self.keys / "server.key"


def status(router: Router) -> dict[str, Any]:
    """What the router's admin API tells."""
    url = f"http://127.0.0.1:{router.admin_port}/status"
    found: dict[str, Any] = httpx.get(url, timeout=30, trust_env=False).json()
    return found


def seen(router: Router, name: str = "far") -> dict[str, Any] | None:
    """How the control plane shows the newest plane of that host; None when it does not, or does not answer."""
    try:
        planes = [plane for plane in status(router)["planes"] if plane["host"] == name]
    except httpx.HTTPError:
        return None
    return planes[-1] if planes else None


def state(router: Router, name: str = "far") -> str | None:
    plane = seen(router, name)
    return None if plane is None else plane["state"]


def settings_of(router: Router) -> Any:
    """The settings of the table that planes were told of last."""
    from shared.messages import decode_table

    return msgspec.structs.asdict(decode_table(router.runtime.table.read_bytes()).settings)


def connections(router: Router, result: str) -> float:
    """How many came from other hosts with that result."""
    text = httpx.get(f"http://127.0.0.1:{router.prometheus_port}/metrics", trust_env=False).text
    line = next(line for line in text.splitlines() if f'remote_connections_total{{result="{result}"}}' in line)
    return float(line.rpartition(" ")[2])


def models(host: PlaneHost) -> int:
    return httpx.get(f"{host.url}/v1/models", timeout=30, trust_env=False).status_code
