"""The demo's child processes: started together, watched together, and ended with certainty."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from shared.clock import Clock

GRACE = 10.0
"""Seconds that a child has to end by itself; the demo's requests are short."""
_LAST_GRACE = 2.0
_TICK = 0.05
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """SIGINT, SIGTERM or SIGHUP came. No Exception: nothing but the end of the demo may handle it."""


class ChildEndedError(Exception):
    """A child ended before its time; its own message is on stderr."""


class Interrupts:
    """Turns signals into `Interrupted`, but never between a child's start and the point from which it is ended."""

    def __init__(self) -> None:
        self._holds = 0
        self.count = 0
        """Signals that came so far."""

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch the signals inside."""
        before = [signal.signal(number, self._on_signal) for number in _SIGNALS]
        try:
            yield
        finally:
            for number, handler in zip(_SIGNALS, before, strict=True):
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if not self._holds:
            raise Interrupted

    def hold(self) -> None:
        """Only count signals from here on."""
        self._holds += 1

    def release(self) -> None:
        """Undo one `hold`; raise for what came meanwhile."""
        self._holds -= 1
        if self.count and not self._holds:
            raise Interrupted


class Child:
    """A `python -m MODULE` of this installation. Its standard output is for us, its errors for the user."""

    def __init__(self, name: str, module: str, arguments: tuple[str, ...]) -> None:
        self._name = name
        # A session of its own keeps the terminal's Ctrl-C from it: we end it, in the right order.
        self._popen = subprocess.Popen(
            (sys.executable, "-P", "-m", module, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._pidfd = os.pidfd_open(self._popen.pid)
        assert self._popen.stdout is not None  # noqa: S101 - for mypy: it was asked for above
        self._output = self._popen.stdout.fileno()

    def end(self, clock: Clock, interrupts: Interrupts) -> None:
        """End it: SIGTERM, after `GRACE` seconds or a further signal once more, at last SIGKILL."""
        seen = interrupts.count
        for number, grace in ((signal.SIGTERM, GRACE), (signal.SIGTERM, _LAST_GRACE), (signal.SIGKILL, _LAST_GRACE)):
            self._popen.send_signal(number)
            deadline = clock.monotonic() + grace
            while clock.monotonic() < deadline and interrupts.count == seen:
                if select.select([self._pidfd], [], [], _TICK)[0]:
                    break
            seen = interrupts.count
            if self._popen.poll() is not None:
                break
        self._popen.wait()
        os.close(self._pidfd)
        if self._popen.stdout is not None:
            self._popen.stdout.close()

    def line_starting(self, start: str, other: Child) -> str:
        """Return the first whole line of its output that begins so. Raises ChildEndedError when either ends first."""
        buffer = b""
        while True:
            readable, _, _ = select.select([self._output, other._pidfd], [], [])
            if other._pidfd in readable:
                raise ChildEndedError(other._ending())
            chunk = os.read(self._output, 65536)
            if not chunk:
                raise ChildEndedError(self._ending())
            buffer += chunk
            whole_lines = buffer.decode(errors="replace").split("\n")[:-1]
            for line in whole_lines:
                if line.startswith(start):
                    return line

    def wait_with(self, other: Child) -> None:
        """Wait until one of the two ends, then raise ChildEndedError."""
        readable, _, _ = select.select([self._pidfd, other._pidfd], [], [])
        raise ChildEndedError((self if self._pidfd in readable else other)._ending())

    def _ending(self) -> str:
        return f"{self._name} ended with exit code {self._popen.wait()}"


@contextmanager
def running(clock: Clock, interrupts: Interrupts, name: str, module: str, *arguments: str) -> Iterator[Child]:
    """Run a child while the context lasts."""
    interrupts.hold()
    child = Child(name, module, arguments)
    try:
        interrupts.release()
        try:
            yield child
        finally:
            interrupts.hold()
    finally:
        child.end(clock, interrupts)
        interrupts.release()
