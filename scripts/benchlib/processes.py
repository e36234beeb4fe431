"""Starting processes so that every one of them is ended, whatever happens.

Routers start children in sessions of their own, and some outlive their parent on purpose. So the
bench makes itself the subreaper: what loses its parent becomes the bench's own child, and the tree
below the bench is at any time the complete list of what it has started.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from benchlib import procfs

_PR_SET_CHILD_SUBREAPER = 36
#: Seconds a router gets for its own shutdown. Longer than any here takes when idle.
_TERM_SECONDS = 10.0


class BenchError(Exception):
    """A measurement that cannot be made; the text says what to do."""


class Processes:
    """Everything this run has started. A context manager: leaving it ends all of it."""

    def __enter__(self) -> "Processes":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        # Python turns only SIGINT into an exception; the others would leave everything running.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _raise_exit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second Ctrl-C must not stop the ending half-way; it is bounded by _TERM_SECONDS.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        this = os.getpid()
        _end(procfs.identify(procfs.descendants(this)), procfs.identify(procfs.children(this)))

    def start(self, argv: Sequence[str], *, log: Path, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a process in a session of its own; what it prints goes to the file `log`."""
        with log.open("ab") as output:
            return subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                text=True,
            )

    def start_piped(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        """Start a helper that is spoken with over stdin and stdout."""
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True)

    def stop(self, process: subprocess.Popen[str], also: Iterable[int] = ()) -> None:
        """End a process, its descendants and the pids in `also`: politely first, then by SIGKILL."""
        family = {process.pid, *procfs.descendants(process.pid), *also}
        _end(procfs.identify(family), procfs.identify([process.pid]))
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _raise_exit(number: int, _frame: object) -> None:
    print(f"bench: ended by {signal.Signals(number).name}", file=sys.stderr)
    raise SystemExit(128 + number)


def _end(family: set[procfs.Identity], leaders: set[procfs.Identity]) -> None:
    """Ask the leaders to end, wait for the family, kill what is left of it."""
    for leader in leaders:
        _signal(leader, signal.SIGTERM)
    deadline = time.monotonic() + _TERM_SECONDS
    left = family
    while left and time.monotonic() < deadline:
        time.sleep(0.01)
        left = {process for process in left if not _gone(process)}
    while left:
        for process in left:
            _signal(process, signal.SIGKILL)
        time.sleep(0.01)
        left = {process for process in left if not _gone(process)}


def _signal(process: procfs.Identity, number: signal.Signals) -> None:
    if procfs.alive(process):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def _gone(process: procfs.Identity) -> bool:
    return not procfs.alive(process)
