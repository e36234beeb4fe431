"""Draws the line from a thread of the supervisor's process, which has its own loop to care for."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from controlplane.cli.admin_client import NotReached, access_to, admin_url, ask
from controlplane.console.line import text_of
from controlplane.console.region import LEAST_LINES, drawn, entered, left
from controlplane.top.snapshot import Summary
from shared.config import ConfigError
from shared.decoding import DECODE_ERRORS
from shared.log_files import write_all
from shared.log_output import STDERR
from shared.runtime_dir import RuntimeDir

INTERVAL = 1.0
_END_WITHIN = 1.0
_DUMB = ("", "dumb", "unknown")

log = logging.getLogger("supervisor")


@contextmanager
def console(runtime: RuntimeDir, descriptor: int = STDERR) -> Iterator[None]:
    """Draw the line inside, where the descriptor is a terminal that can; else do nothing."""
    if not os.isatty(descriptor) or os.environ.get("TERM", "") in _DUMB:
        yield
        return
    line = _Line(runtime, descriptor)
    thread = threading.Thread(target=line.run, name="console", daemon=True)
    thread.start()
    try:
        yield
    finally:
        line.stop.set()
        thread.join(_END_WITHIN)
        line.leave()


class _Line:
    """The line, and the size that the terminal had when it was drawn."""

    def __init__(self, runtime: RuntimeDir, descriptor: int) -> None:
        self.stop = threading.Event()
        self._runtime = runtime
        self._descriptor = descriptor
        self._lines = 0
        # The end of the process must not come between two orders of the thread.
        self._one_at_a_time = threading.Lock()

    def run(self) -> None:
        """Draw until stopped, or until the terminal is gone."""
        with suppress(OSError):
            while not self.stop.is_set():
                self._draw(text_of(self._look()))
                self.stop.wait(INTERVAL)

    def leave(self) -> None:
        """Give the line back."""
        with self._one_at_a_time, suppress(OSError):
            if self._lines:
                write_all(self._descriptor, left(self._lines))
                self._lines = 0

    def _draw(self, text: str) -> None:
        columns, lines = os.get_terminal_size(self._descriptor)
        with self._one_at_a_time:
            if self.stop.is_set() or not _is_ours(self._descriptor):
                # In the background the terminal is another one's.
                return
            orders = b""
            if lines != self._lines:
                if self._lines:
                    orders += left(self._lines)
                orders += entered(lines) if lines >= LEAST_LINES else b""
                self._lines = lines if lines >= LEAST_LINES else 0
            if self._lines:
                # In one piece: what other processes log comes before it or after it.
                write_all(self._descriptor, orders + drawn(text, columns, lines))
            elif orders:
                write_all(self._descriptor, orders)

    def _look(self) -> Summary | None:
        try:
            url = admin_url(self._runtime)
            if url is None:
                return None
            answer = ask(f"{url}/summary", access=access_to(url, None, self._runtime))
            return msgspec.json.decode(answer.body, type=Summary) if answer.status == 200 else None
        except (NotReached, ConfigError, *DECODE_ERRORS):
            # The line says that nobody answers; why is in the log above it.
            return None


def _is_ours(descriptor: int) -> bool:
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        # It is the terminal of another session, which has started us to write to it (`routerctl demo`).
        return True
