"""The access log: one line for each request of a client, in the log of its plane.

A request that ends leaves its receipt's row here, as it is. Lines are made of some rows at a time, and handed to the
log's own thread (`shared.log_output`) a moment later, which writes them: a request waits for none of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from dataplane.access_lines import EndedRow, LineWriter
from dataplane.token_bucket import TokenBucket
from shared.log_output import Lines, LogOutput

DELAY = 0.1
"""Seconds for which lines gather: waking the log's thread, and its writing to four files, cost as much as 50 lines."""
AT_ONCE = 64
"""Rows of which lines are made together: about a quarter of a millisecond. Rows that wait keep what their requests
were made of from being used again, so that new ones are made in memory that no cache has: 1,000 of them made each
request dearer by 3 %. Of a few rows each line costs half as much again."""
AT_ONCE_WITH_BODIES = 10
"""The same where lines show up to 16 KiB of a body each."""
MOST_PIECES = 64
"""Such groups of lines that gather: 3 MB, and 20 MB at most where lines show bodies. More come only where the plane
itself can not keep up."""
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
        self._rows: list[EndedRow] = []
        self._most_rows = AT_ONCE
        self._pieces: list[tuple[Lines, int]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._failures = TokenBucket(
            loop.time(), tokens=FAILURES_PER_SECOND, per_second=FAILURES_PER_SECOND, most=FAILURES_PER_SECOND
        )
        self.dropped = 0
        """Lines of failures that were too many; those that the output found no room for, it counts itself."""
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
        self._most_rows = AT_ONCE_WITH_BODIES if self.shows_prompts else AT_ONCE

    def note(self, ended: EndedRow) -> None:
        """Have a line written of a request whose level is `least` or above."""
        if self.success < self.least and not self._may_fail():
            self.dropped += 1
            return
        self._rows.append(ended)
        if len(self._rows) >= self._most_rows:
            self._make_lines()
        if self._timer is None:
            self._timer = self._loop.call_later(DELAY, self.flush)

    def _may_fail(self) -> bool:
        if not self._failures.has_token(self._loop.time()):
            return False
        self._failures.take()
        return True

    def flush(self) -> None:
        """Have all lines written."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._make_lines()
        self._hand_over()

    def _make_lines(self) -> None:
        rows = self._rows
        if rows:
            self._pieces.append((self._writer.write(rows, self._wall() - self._loop.time()), len(rows)))
            rows.clear()
            if len(self._pieces) >= MOST_PIECES:
                self._hand_over()

    def _hand_over(self) -> None:
        pieces, self._pieces = self._pieces, []
        if self._output is not None:
            for lines, count in pieces:
                self._output.offer(lines, count)
