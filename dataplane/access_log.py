"""The access log: one line for each request of a client, in the log of its plane.

A request that ends leaves its receipt's row here, as it is. Lines are made of the rows a moment later, some at a time,
and handed to the log's own thread (`shared.log_output`), which writes them: a request waits for none of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from dataplane.access_lines import EndedRow, LineWriter
from dataplane.token_bucket import TokenBucket
from shared.log_output import LogOutput

DELAY = 0.1
"""Seconds for which rows gather: waking the log's thread, and its writing to four files, cost as much as 50 lines."""
MOST_ROWS = 20_000
"""Rows that wait for that: more come only where the plane itself can not keep up."""
AT_ONCE = 200
"""Rows of which lines are made before others have their turn: about half a millisecond. Their 130 KB are written while
the processor has them at hand; of 1,000 rows each line costs half as much again."""
AT_ONCE_WITH_BODIES = 10
"""The same where lines show up to 16 KiB of a body each."""
FAILURES_PER_SECOND = 100.0
"""Lines where only failures are logged: enough to see which; an outage must not fill the disk as well."""


class AccessLog:
    """Gathers rows and has lines of them written. All of it runs in the event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        process: str = "",
        output: LogOutput | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Name the process in each line; without `output` nothing is written. `wall` gives Unix time in seconds."""
        self._loop = loop
        wants_text, wants_structured = (output.wants_text, output.wants_structured) if output else (False, False)
        self._writer = LineWriter(process, wants_text=wants_text, wants_structured=wants_structured)
        self._output = output
        self._wall = wall
        self._rows: deque[EndedRow] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._failures = TokenBucket(
            loop.time(), tokens=FAILURES_PER_SECOND, per_second=FAILURES_PER_SECOND, most=FAILURES_PER_SECOND
        )
        self.dropped = 0
        """Lines for which there was no room; those that the output found none for, it counts itself."""
        self.least: float = float("inf")
        """The least level that is logged."""
        self.success = logging.DEBUG
        """The level of requests that did not fail."""
        self.shows_prompts = False

    def use(self, mode: str, log_level: str, *, prompts: bool) -> None:
        """Go by the settings: `mode` is off, errors or all; at log level debug, errors is all."""
        is_on = self._output is not None and mode != "off"
        self.least = logging.getLevelNamesMapping()[log_level.upper()] if is_on else float("inf")
        self.success = logging.INFO if mode == "all" else logging.DEBUG
        self.shows_prompts = prompts and is_on

    def note(self, ended: EndedRow) -> None:
        """Have a line written of a request whose level is `least` or above."""
        if len(self._rows) >= MOST_ROWS or (self.success < self.least and not self._may_fail()):
            self.dropped += 1
            return
        self._rows.append(ended)
        if self._timer is None:
            self._timer = self._loop.call_later(DELAY, self._write)

    def _may_fail(self) -> bool:
        if not self._failures.has_token(self._loop.time()):
            return False
        self._failures.take()
        return True

    def flush(self) -> None:
        """Have all lines written: the plane ends."""
        while self._rows:
            self._write()

    def _write(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        rows = self._rows
        most = AT_ONCE_WITH_BODIES if self.shows_prompts else AT_ONCE
        batch = [rows.popleft() for _ in range(min(most, len(rows)))]
        self._timer = self._loop.call_later(0, self._write) if rows else None
        if self._output is not None:
            self._output.offer(self._writer.write(batch, self._wall() - self._loop.time()), len(batch))
