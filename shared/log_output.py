"""Where a process's log lines go: to stderr and, with a folder, into mvllm's three files. Nobody waits for either.

A thread writes. What it can not write in time waits in a bounded buffer; what finds no room there is counted, and so is
what a full disk does not take, of which stderr is told. So a terminal that is stopped, a full pipe or a slow disk never
holds an event loop up.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from shared.clock import SystemClock
from shared.log_files import LogFile, write_all
from shared.log_losses import Losses

TEXT_FILE = "vllm-router.log"
ERROR_FILE = "vllm-router-error.log"
STRUCTURED_FILE = "vllm-router-structured.log"
"""As mvllm names them."""
MOST_WAITING = 4 * 1024 * 1024
"""Bytes of lines that wait."""
STDERR = 2
_END_WITHIN = 1.0
_MOST_AT_ONCE = 256
_MOST_BYTES = 64 * 1024
"""Of what is written at once: larger pieces cost more for each byte."""

Write = Callable[[bytes], None]

log = logging.getLogger(__name__)


class Lines(NamedTuple):
    """One or more whole lines in the formats that are wanted (empty: in none); of `text`, those that tell of errors."""

    text: bytes
    structured: bytes
    errors: bytes = b""

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.text) + len(self.structured) + len(self.errors)

    @classmethod
    def joined(cls, all_lines: Sequence[Lines]) -> Lines:
        """Return all of them, in their order."""
        return cls(
            b"".join([lines.text for lines in all_lines]),
            b"".join([lines.structured for lines in all_lines]),
            b"".join([lines.errors for lines in all_lines]),
        )


class LogOutput:
    """Takes lines from any thread."""

    def __init__(self, *, structured: bool, folder: Path | None = None, stderr: Write | None = None) -> None:
        """`structured` has stderr get JSON instead of text; `folder` is where the three files go."""
        self.wants_text = not structured or folder is not None
        self.wants_structured = structured or folder is not None
        self.dropped = 0
        self._structured = structured
        self._stderr = stderr or _to_stderr
        self._folder = folder
        self._losses = Losses()
        self._clock = SystemClock()
        self._files: tuple[LogFile, LogFile, LogFile] | None = None
        if folder is not None:
            text, errors, machine = (LogFile(folder / name) for name in (TEXT_FILE, ERROR_FILE, STRUCTURED_FILE))
            self._files = text, errors, machine
        self._queue: queue.SimpleQueue[Lines | None] = queue.SimpleQueue()
        self._room = threading.Lock()
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._is_over = False

    def offer(self, lines: Lines, count: int = 1) -> bool:
        """Have lines written soon; False when there was no room for these `count`."""
        size = lines.size
        if self._is_over:
            self._write(lines)
            return True
        with self._room:
            if self._waiting + size > MOST_WAITING:
                self.dropped += count
                return False
            self._waiting += size
            if self._thread is None:
                # Only now: a process that forks or binds its threads to a core does so before it has something to say.
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
        self._queue.put(lines)
        return True

    def close(self) -> None:
        """Write what waits, within a second, and end. What comes later is written at once."""
        self._is_over = True
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join(_END_WITHIN)

    def _run(self) -> None:
        for file in self._files or ():
            # All three are there from the beginning, for whoever follows them.
            with suppress(OSError):
                file.write(b"")
        is_over = False
        while not is_over:
            batch, size = [], 0
            waiting: Lines | None = self._queue.get()
            with suppress(queue.Empty):
                while waiting is not None:
                    batch.append(waiting)
                    size += waiting.size
                    if len(batch) == _MOST_AT_ONCE or size >= _MOST_BYTES:
                        break
                    waiting = self._queue.get_nowait()
            is_over = waiting is None
            lines = Lines.joined(batch)
            self._write(lines)
            with self._room:
                self._waiting -= lines.size

    def _write(self, lines: Lines) -> None:
        self._try(self._stderr, lines.structured if self._structured else lines.text)
        if self._files is not None:
            self._keep(list(zip(self._files, (lines.text, lines.errors, lines.structured), strict=True)))

    def _keep(self, parts: list[tuple[LogFile, bytes]]) -> None:
        failed = [(reason, data.count(b"\n")) for file, data in parts if (reason := self._try(file.write, data))]
        if failed:
            lost = sum(count for _, count in failed)
            told = self._losses.failed(lost, failed[0][0], self._clock.monotonic())
        else:
            told = self._losses.written()
        if told:
            # It comes back to here, and gets to stderr at least.
            level = logging.ERROR if failed else logging.WARNING
            log.log(level, "the log files in %s (--log-dir) %s", self._folder, told)

    def _try(self, write: Write, data: bytes) -> str:
        """Write; return why it could not be done."""
        if not data:
            return ""
        try:
            write(data)
        except OSError as error:
            # Planes outlive the terminal or the pipe that they were started on, and a disk that is full.
            with self._room:
                self.dropped += data.count(b"\n")
            return error.strerror or str(error)
        return ""


def make_files(folder: Path) -> None:
    """Make the three files where they are not there yet. Raises OSError."""
    for name in (TEXT_FILE, ERROR_FILE, STRUCTURED_FILE):
        file = LogFile(folder / name)
        try:
            file.write(b"")
        finally:
            file.close()


def _to_stderr(data: bytes) -> None:
    write_all(STDERR, data)
