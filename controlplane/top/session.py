"""`routerctl top` while it runs: threads ask the router, one loop turns keys and answers into frames.

Nothing waits for the router but those threads: keys work while it does not answer.
"""

from __future__ import annotations

import os
import queue
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from msgspec.structs import replace

from controlplane.cli.admin_command import Refusal
from controlplane.top.frame import frame
from controlplane.top.keys import keys_in
from controlplane.top.snapshot import Seen, Snapshot
from controlplane.top.source import Source
from controlplane.top.terminal import Terminal
from controlplane.top.turns import pressed
from controlplane.top.view import View, Wish
from shared.clock import Clock

_ESCAPE_PATIENCE = 0.05
"""Seconds in which the rest of a key's sequence comes, also over ssh."""
_TICK = 1.0
_MOST_BYTES = 4096

_Answer = Snapshot | Refusal | str


class Session:
    """One life of the monitor; `run` returns when its user quits."""

    def __init__(self, source: Source, terminal: Terminal, clock: Clock, *, interval: float, view: View) -> None:
        self._source = source
        self._terminal = terminal
        self._clock = clock
        self._interval = interval
        self._view = view
        self._seen = Seen(where=source.where)
        self._seen_at = clock.monotonic()
        self._answers: queue.SimpleQueue[_Answer] = queue.SimpleQueue()
        self._due = threading.Event()
        self._is_changing = False
        self._is_over = False
        self._is_stopped = False
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    def run(self, first: Snapshot | Refusal) -> None:
        """Go on until quit; `first` is what was found out before."""
        self._take(first)
        # They die with the process: an answer that never comes must not hold its end up.
        threading.Thread(target=self._ask, daemon=True).start()
        while not self._is_over:
            with self._signals(), self._terminal.held():
                self._go_on()
            if self._is_stopped:
                # Ctrl-Z: the shell has the terminal until `fg`.
                self._is_stopped = False
                os.kill(os.getpid(), signal.SIGSTOP)

    def _go_on(self) -> None:
        rest = b""
        while not self._is_over and not self._is_stopped:
            self._draw()
            rest = self._wait(rest)

    def _draw(self) -> None:
        screen = self._terminal.screen()
        age = self._clock.monotonic() - self._seen_at
        self._terminal.draw(frame(replace(self._seen, age=age), self._view, screen), screen)

    def _wait(self, rest: bytes) -> bytes:
        """Wait for something to do, and do it. Returns the beginning of a key whose rest is on its way."""
        timeout = _ESCAPE_PATIENCE if rest else _TICK
        readable, _, _ = select.select([self._terminal.keys, self._wake_read], [], [], timeout)
        if self._wake_read in readable:
            with suppress(BlockingIOError):
                os.read(self._wake_read, _MOST_BYTES)
        while not self._answers.empty():
            self._take(self._answers.get())
        if self._terminal.keys in readable:
            data = os.read(self._terminal.keys, _MOST_BYTES)
            if not data:
                # Nobody holds the other end any more.
                self._is_over = True
            rest += data
        elif readable:
            return rest
        keys, rest = keys_in(rest, is_all=not readable)
        for key in keys:
            self._press(key)
        return rest

    def _press(self, key: str) -> None:
        turn = pressed(self._view, key, self._seen.snapshot)
        self._view = turn.view
        self._is_over = self._is_over or turn.is_over
        if turn.wish is None:
            return
        if self._is_changing:
            self._view = replace(self._view, message="the last change is not done yet; nothing was changed")
            return
        self._is_changing = True
        threading.Thread(target=self._change, args=(turn.wish,), daemon=True).start()

    def _take(self, answer: _Answer) -> None:
        if isinstance(answer, Snapshot):
            if not self._view.is_paused or self._seen.snapshot is None:
                self._seen_at = self._clock.monotonic()
                self._seen = Seen(where=self._source.where, snapshot=answer)
        elif isinstance(answer, Refusal):
            self._seen = replace(self._seen, where=self._source.where, problem=str(answer))
        else:
            self._is_changing = False
            self._view = replace(self._view, message=answer)

    # --- threads ---------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        while True:
            self._due.wait(self._interval)
            self._due.clear()
            try:
                self._tell(self._source.look())
            except Refusal as refusal:
                self._tell(refusal)

    def _change(self, wish: Wish) -> None:
        try:
            told = self._source.change(wish)
        except Refusal as refusal:
            told = f"not done: {refusal}"
        self._tell(told)
        self._due.set()

    def _tell(self, answer: _Answer) -> None:
        self._answers.put(answer)
        # A full pipe wakes, too.
        with suppress(BlockingIOError):
            os.write(self._wake_write, b"!")

    # --- signals ---------------------------------------------------------------------------------------------

    @contextmanager
    def _signals(self) -> Iterator[None]:
        ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._end) for number in ends}
        before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._stop)
        before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: None)
        waker = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(waker)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, *_: object) -> None:
        self._is_over = True

    def _stop(self, *_: object) -> None:
        self._is_stopped = True
