"""The routers under test: how each is started, when it is ready, which processes are its own."""

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchlib import net, nginx, peer, procfs
from benchlib.processes import BenchError, Processes

NAMES = ("routerctl", "vllm-router", "nginx")
_ROUTERCTL = peer.ROOT / ".venv" / "bin" / "routerctl"
_READY_SECONDS = 60.0


@dataclass(frozen=True)
class Launch:
    """What a target is started with. `workers` are address:port pairs."""

    workers: list[str]
    planes: int
    port: int
    metrics_port: int
    admin_port: int
    directory: Path
    #: Further arguments, for routerctl only.
    extra: tuple[str, ...] = ()

    @property
    def urls(self) -> list[str]:
        return [f"http://{worker}" for worker in self.workers]


def _routerctl(launch: Launch) -> list[str]:
    return [
        *(str(_ROUTERCTL), "start", "--host", "127.0.0.1", "--port", str(launch.port)),
        *("--data-planes", str(launch.planes), "--policy", "round_robin"),
        *("--prometheus-port", str(launch.metrics_port), "--admin-port", str(launch.admin_port)),
        *("--runtime-dir", str(launch.directory / "run"), "--log-level", "warning"),
        *launch.extra,
        *(("--worker-urls", *launch.urls) if launch.workers else ()),
    ]


def _vllm_router(launch: Launch) -> list[str]:
    # All its features stay on, as they do for routerctl. The interval is the one exception: 30 s
    # by default, it would only make the start of this bench slow.
    return [
        *(str(peer.command()), "--host", "127.0.0.1", "--port", str(launch.port), "--policy", "round_robin"),
        *("--prometheus-port", str(launch.metrics_port), "--worker-startup-check-interval", "1"),
        *("--log-level", "error", "--worker-urls", *launch.urls),
    ]


def _nginx(launch: Launch) -> list[str]:
    config = nginx.write_config(launch.directory, launch.port, launch.workers)
    return ["nginx", "-p", str(launch.directory), "-e", str(launch.directory / "error.log"), "-c", str(config)]


@dataclass(frozen=True)
class Target:
    """One router. `ready_path` answers 200 when it can serve."""

    name: str
    argv: Callable[[Launch], list[str]]
    ready_path: str


TARGETS = {
    "routerctl": Target("routerctl", _routerctl, "/readiness"),
    "vllm-router": Target("vllm-router", _vllm_router, "/readiness"),
    "nginx": Target("nginx", _nginx, "/health"),
}


def usable(name: str) -> bool:
    """Tell whether a target can be measured here; installs the peer if need be."""
    if name == "nginx":
        return shutil.which("nginx") is not None
    return (peer.command() if name == "vllm-router" else _ROUTERCTL).exists()


class _Process(msgspec.Struct):
    pid: int | None = None


class _Status(msgspec.Struct):
    """The part of `routerctl status --json` that names processes."""

    supervisor: _Process | None = None
    control_plane: _Process | None = None
    planes: list[_Process] = []


class _Readiness(msgspec.Struct):
    healthy_workers: int | None = None


@dataclass
class Running:
    """A started router."""

    target: Target
    launch: Launch
    process: subprocess.Popen[str]
    processes: Processes
    _status: dict[int, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return self.launch.port

    def wait_ready(self) -> None:
        """Return when the router serves and, if it tells their number, knows all workers healthy."""
        log = self.launch.directory / "output.log"

        def ready() -> bool:
            if self.process.poll() is not None:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise BenchError(f"{self.target.name} ended with status {self.process.returncode}:\n{tail}")
            status, body = net.get(self.port, self.target.ready_path)
            if status != 200:
                return False
            try:
                healthy = msgspec.json.decode(body, type=_Readiness).healthy_workers
            except msgspec.DecodeError:
                return True
            return healthy is None or healthy >= len(self.launch.workers)

        net.wait_until(ready, _READY_SECONDS, f"{self.target.name} ready with all workers")
        self._status = self._ask_status()

    def _ask_status(self) -> dict[int, str]:
        """Return pid -> role as routerctl itself tells them; empty for the others."""
        if self.target.name != "routerctl":
            return {}
        argv = [str(_ROUTERCTL), "status", "--json", "--admin", f"http://127.0.0.1:{self.launch.admin_port}"]
        try:
            done = subprocess.run(argv, capture_output=True, timeout=30, check=False)
            status = msgspec.json.decode(done.stdout, type=_Status)
        except (subprocess.TimeoutExpired, msgspec.DecodeError):
            return {}  # the process tree alone then tells what belongs to it
        named = {"supervisor": status.supervisor, "control plane": status.control_plane}
        named |= {f"plane {number}": plane for number, plane in enumerate(status.planes)}
        return {process.pid: role for role, process in named.items() if process is not None and process.pid}

    def pids(self) -> set[int]:
        """Return all processes of this router: its tree, and those that it says are its own."""
        return {self.process.pid, *procfs.descendants(self.process.pid), *self._status}

    def role(self, pid: int) -> str:
        """Return what a process of this router is, for tables."""
        return self._status.get(pid) or procfs.title(pid)

    def cpu(self) -> dict[int, float]:
        """Return pid -> CPU seconds used so far."""
        times = {pid: procfs.cpu_seconds(pid) for pid in self.pids()}
        return {pid: seconds for pid, seconds in times.items() if seconds is not None}

    def stop(self) -> None:
        self.processes.stop(self.process, also=self._status)


def start(
    processes: Processes,
    name: str,
    workers: list[str],
    planes: int,
    directory: Path,
    extra: tuple[str, ...] = (),
    *,
    is_read: bool = False,
) -> Running:
    """Start a router; it may not be ready yet. With `is_read` it says what it says into a pipe."""
    directory.mkdir(parents=True)
    port, metrics_port, admin_port = net.free_ports(3)
    launch = Launch(workers, planes, port, metrics_port, admin_port, directory, extra)
    target = TARGETS[name]
    argv = target.argv(launch)
    begin = processes.start_read if is_read else processes.start
    return Running(target, launch, begin(argv, log=directory / "output.log"), processes)


def start_and_time(processes: Processes, name: str, workers: list[str], directory: Path) -> tuple[Running, float]:
    """Start a router with one plane; return it and the seconds from launch to its first chat answer."""
    begin = time.perf_counter()
    running = start(processes, name, workers, 1, directory)
    net.wait_until(
        lambda: running.process.poll() is not None or net.chat_answers(running.port),
        _READY_SECONDS,
        f"{name} answering its first request",
        poll_seconds=0.005,
    )
    seconds = time.perf_counter() - begin
    running.wait_ready()
    return running, seconds
