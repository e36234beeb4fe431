"""The bench's side of a load process, and of the fake workers' process."""

import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

import msgspec

from benchlib import net
from benchlib.processes import BenchError, Processes
from benchlib.upstream import CUT_LINK, worker_address
from benchlib.wire import LoadResult, LoadSpec

T = TypeVar("T")


class Upstream:
    """The fake workers: `urls(n)` are the addresses of the first n."""

    def __init__(self, processes: Processes, workers: int) -> None:
        (self._port,) = net.free_ports(1)
        self.process = processes.start_piped([sys.executable, "-m", "benchlib.upstream", str(self._port), str(workers)])
        _expect_ready(self.process)

    def addresses(self, workers: int, *, has_cut_link: bool = False) -> list[str]:
        if has_cut_link:
            return [f"{host}:{self._port}" for host in CUT_LINK]
        return [f"{worker_address(number)}:{self._port}" for number in range(workers)]


def run_load(processes: Processes, spec: LoadSpec, clock: Callable[[], T]) -> tuple[LoadResult, T, T]:
    """Run one load; return its result and `clock()` just before its first and after its last request."""
    encoded = msgspec.json.encode(spec).decode()
    process = processes.start_piped([sys.executable, "-m", "benchlib.loadgen", encoded])
    # The load process bounds itself; this is for the case that it hangs. Then readline() ends.
    watchdog = threading.Timer(3 * (spec.warmup_seconds + spec.seconds + spec.grace_seconds), process.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        _expect_ready(process)
        assert process.stdin is not None
        assert process.stdout is not None
        before = clock()
        process.stdin.write("go\n")
        process.stdin.flush()
        line = process.stdout.readline()
        after = clock()
    finally:
        watchdog.cancel()
        processes.stop(process)
    if not line:
        raise BenchError("the load process ended without a result; its error, if any, stands above")
    result = msgspec.json.decode(line, type=LoadResult)
    if not result.requests:
        raise BenchError(f"not one request was answered: {result.errors}")
    return result, before, after


def _expect_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise BenchError(f"{process.args!r} did not start; its error stands above")
