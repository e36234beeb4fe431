"""What each part of `scripts/bench admission` is made of: a worker and a router before it."""

import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchlib import niceness, targets
from benchlib.admission_load import Worker
from benchlib.processes import BenchError, Processes
from benchlib.targets import Running

# The worker's own figures and health are no part of what is measured.
_QUIET = ("--load-interval-ms=60000", "--health-check-interval-secs=3600", "--no-load-header")


class Rig:
    """Starts what is measured; all of it ends with `processes`."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self.processes = processes
        self.folder = folder
        self._numbers = itertools.count()

    @contextmanager
    def router(
        self, planes: int, service: float, *limits: str, spread: float = 0.0, workers: int = 1
    ) -> Iterator[tuple[Running, Worker]]:
        """Run a router with these flags before workers that hold each request for `service` seconds."""
        worker = Worker(self.processes, service, spread, workers)
        folder = self.folder / f"router-{next(self._numbers)}"
        flags = (*_QUIET, *limits)
        router = targets.start(self.processes, "routerctl", worker.addresses, planes, folder, flags)
        router.wait_ready()
        niceness.hand_on(router.pids())
        yield router, worker
        router.stop()
        self.processes.stop(worker.process)


def kill(router: Running, role: str) -> int:
    """End a process of the router as a crash would; the supervisor starts another one. Returns its pid."""
    for pid in router.pids():
        if router.role(pid) == role:
            os.kill(pid, signal.SIGKILL)
            return pid
    raise BenchError(f"the router has no {role}")
