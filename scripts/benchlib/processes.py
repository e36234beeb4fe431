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
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from benchlib import procfs

_PR_SET_CHILD_SUBREAPER = 36
#: Seconds a router gets for its own shutdown. Longer than any here takes when idle.
_TERM_SECONDS = 10.0


_LOGGED = 64 * 1024
"""Bytes of what a process says that are kept where it may say a lot."""


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

    def start_read(self, argv: Sequence[str], *, log: Path) -> subprocess.Popen[str]:
        """Start a process whose output is read from a pipe, as a container's is; `log` gets what it begins with.

        A file would have its writer pay for the file system's work, which is not the same on any two machines.
        """
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
        assert process.stdout is not None
        # A thread of its own reads, until the last of the router's processes has closed the other end.
        threading.Thread(target=_read_on, args=(os.dup(process.stdout.fileno()), log), daemon=True).start()
        return process

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


def _read_on(descriptor: int, log: Path) -> None:
    with log.open("wb") as file:
        while data := os.read(descriptor, 1 << 20):
            if file.tell() < _LOGGED:
                file.write(data)
                file.flush()
    os.close(descriptor)


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
