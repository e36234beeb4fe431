"""The bench's side of a load process, and of the fake workers' process."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    # The load process bounds itself; this is for the case that it hangs.
    with _started(processes, spec, 3 * (spec.warmup_seconds + spec.seconds + spec.grace_seconds)) as process:
        before = clock()
        _ask(process)
        result = _told(process)
        after = clock()
    if not result.requests:
        raise BenchError(f"not one request was answered: {result.errors}")
    return result, before, after


@contextmanager
def held_load(processes: Processes, spec: LoadSpec, seconds: float) -> Iterator[Callable[[], LoadResult]]:
    """Keep a load going, for `seconds` at most, while what is measured of it changes.

    Gives what returns what the clients saw since it was called last, or since they began.
    """
    with _started(processes, msgspec.structs.replace(spec, mode="held"), seconds) as process:

        def cut() -> LoadResult:
            _ask(process)
            return _told(process)

        yield cut


@contextmanager
def _started(processes: Processes, spec: LoadSpec, seconds: float) -> Iterator[subprocess.Popen[str]]:
    encoded = msgspec.json.encode(spec).decode()
    process = processes.start_piped([sys.executable, "-m", "benchlib.loadgen", encoded])
    watchdog = threading.Timer(seconds, process.kill)  # readline() ends then
    watchdog.daemon = True
    watchdog.start()
    try:
        _expect_ready(process)
        yield process
    finally:
        watchdog.cancel()
        processes.stop(process)


def _ask(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def _told(process: subprocess.Popen[str]) -> LoadResult:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise BenchError("the load process ended without a result; its error, if any, stands above")
    return msgspec.json.decode(line, type=LoadResult)


def _expect_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise BenchError(f"{process.args!r} did not start; its error stands above")
