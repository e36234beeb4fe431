"""The bench's side of the worker and the clients of `scripts/bench admission`, and who used the machine meanwhile."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchlib import niceness, procfs
from benchlib.admission_wire import ClientsSpec, Seen, Told
from benchlib.processes import BenchError, Processes
from benchlib.targets import Running
from benchlib.upstream import worker_address


class Helper:
    """A process that is spoken with in lines."""

    def __init__(self, processes: Processes, module: str, *arguments: str) -> None:
        self.process = processes.start_piped([sys.executable, "-m", f"benchlib.{module}", *arguments])
        niceness.hand_on([self.process.pid])

    def tell(self) -> None:
        """Write an empty line."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def read(self) -> str:
        """Return the next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise BenchError(f"{self.process.args!r} ended; its error stands above")
        return line

    @property
    def pid(self) -> int:
        return self.process.pid


class Worker(Helper):
    """A process of so many workers that hold each request for so many seconds, give or take a part `spread` of them."""

    def __init__(self, processes: Processes, seconds: float, spread: float, workers: int = 1) -> None:
        super().__init__(processes, "admission_worker", str(seconds), str(spread), str(workers))
        port = int(self.read())
        self.addresses = [f"{worker_address(number)}:{port}" for number in range(workers)]

    def seen(self) -> Seen:
        """Return what it saw since it was asked before."""
        self.tell()
        return msgspec.json.decode(self.read(), type=Seen)


class Clients(Helper):
    """Clients that ask from `start` on, until `stop`."""

    def __init__(self, processes: Processes, spec: ClientsSpec) -> None:
        super().__init__(processes, "admission_clients", msgspec.json.encode(spec).decode())
        self._processes = processes
        if self.read() != "ready\n":
            raise BenchError(f"{self.process.args!r} did not start")

    def start(self) -> None:
        """Let them ask."""
        self.tell()

    def stop(self) -> Told:
        """Let them ask no more, and return what they were told."""
        self.tell()
        told = msgspec.json.decode(self.read(), type=Told)
        self._processes.stop(self.process)
        return told


@contextmanager
def asking(processes: Processes, spec: ClientsSpec, settle: float = 3.0) -> Iterator[Clients]:
    """Have clients ask meanwhile, and for `settle` seconds before; nobody wants to know what they were told."""
    clients = Clients(processes, spec)
    clients.start()
    time.sleep(settle)
    yield clients
    clients.stop()


class Shares:
    """Who uses how much of the machine: of one core's time, from a moment on."""

    def __init__(self, router: Running, others: dict[str, int]) -> None:
        """`others` are the bench's own processes by what they are."""
        self._router = router
        self._others = others
        self._before = self._read()
        self._began = time.monotonic()

    def _read(self) -> tuple[dict[str, float], float]:
        used: dict[str, float] = {}
        for pid, seconds in self._router.cpu().items():
            role = self._router.role(pid)
            used[role] = used.get(role, 0.0) + seconds
        for name, pid in self._others.items():
            used[name] = procfs.cpu_seconds(pid) or 0.0
        return used, _busy_seconds()

    def text(self) -> str:
        """Return it as text: 10 % is a tenth of one core."""
        (before, busy_before), (now, busy) = self._before, self._read()
        seconds = time.monotonic() - self._began
        own = {role: (now[role] - before.get(role, 0.0)) / seconds for role in sorted(now)}
        rest = (busy - busy_before) / seconds - sum(own.values())
        named = ", ".join(f"{role} {share:.0%}" for role, share in own.items() if share >= 0.005)
        return f"of a core: {named}; all others {max(0.0, rest):.0%} of {os.cpu_count()} cores"


def _busy_seconds() -> float:
    """Return the seconds that all cores were busy since boot, as /proc/stat tells (proc(5))."""
    ticks = [int(figure) for figure in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(ticks) - sum(ticks[3:5])) / os.sysconf("SC_CLK_TCK")
