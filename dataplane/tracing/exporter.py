"""Ended requests on their way to a collector, in a thread of its own.

Spans are made here, not while the request lasts: that costs the event loop one entry in a queue. The thread gives the
interpreter's lock back after each request, so the loop never waits for more than one.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from dataplane.access_lines import Ended
from dataplane.tracing.context import Trace
from dataplane.tracing.environment import sending
from dataplane.tracing.spans import spans_of

if TYPE_CHECKING:
    from dataplane.tracing.otlp import Collector

MOST_WAITING = 2048
"""Requests: about 4 s of what `tracing` lets through while a collector does not answer."""
AT_ONCE = 64
"""Requests in one message, of 85 KB: to send it takes as long as to write down 20 requests."""
DELAY = 1.0
"""Seconds for which they gather."""
LAST_WORDS = 2.0
"""Seconds for what is left at the end, besides a message that is on its way."""
RETRY = 60.0
"""Seconds after which a collector that gets nothing is opened anew, with its certificates as they are then; also
between two complaints about it."""

logger = logging.getLogger(__name__)


class Exporter:
    """Takes ended requests in the event loop and tells of them in its thread.

    `exported` and `failed` count requests; only the thread changes them.
    """

    def __init__(self, endpoint: str, instance: str, ago: float, *, delay: float = DELAY, retry: float = RETRY) -> None:
        """Begin; `delay` and `retry` in seconds, the others as `dataplane.tracing.otlp.Collector`."""
        self.exported = 0
        self.failed = 0
        self._endpoint = endpoint
        self._instance = instance
        self._ago = ago
        self._delay = delay
        self._retry = retry
        self._waiting: deque[tuple[Ended, Trace]] = deque()
        self._until = float("inf")
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._collector: Collector | None = None
        self._opened = self._complained = float("-inf")
        self._is_told_lost = False
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def put(self, request: Ended, trace: Trace) -> bool:
        """Have a request told of; False when too many wait."""
        if len(self._waiting) >= MOST_WAITING:
            return False
        self._waiting.append((request, trace))
        if len(self._waiting) == AT_ONCE:
            self._wake.set()
        return True

    def end(self) -> None:
        """Begin to end: tell of those that wait, within `LAST_WORDS`, and take no more. Waits for nothing."""
        if not self._closing.is_set():
            self._until = time.monotonic() + LAST_WORDS
            self._closing.set()
            self._wake.set()

    @property
    def is_ended(self) -> bool:
        """Whether `exported` and `failed` stay as they are."""
        return not self._thread.is_alive()

    def close(self) -> None:
        """End, and wait for that until the last words are over."""
        self.end()
        self._thread.join(max(self._until - time.monotonic(), 0.0))

    def _run(self) -> None:
        if self._has_packages():
            self._tell_while_open()
        self._closing.wait()
        self.failed += len(self._waiting)
        self._waiting.clear()

    def _has_packages(self) -> bool:
        try:
            import dataplane.tracing.otlp  # noqa: F401 - what it needs is a part of the package that may be missing
        except ImportError as error:
            logger.error("no traces: %s; install routerctl[otel] where this plane runs", error)
            return False
        return True

    def _tell_while_open(self) -> None:
        for warning in sending(os.environ).warnings:
            logger.warning("%s", warning)
        while not self._closing.is_set():
            if self._collector is None:
                self._open()
            self._wake.wait(self._delay)
            self._wake.clear()
            while self._waiting and not self._closing.is_set():
                self._tell()
        while self._waiting and time.monotonic() < self._until:
            self._tell()
        if self._collector is not None:
            self._collector.close()

    def _open(self) -> None:
        from dataplane.tracing.otlp import Collector, CollectorError

        if time.monotonic() - self._opened < self._retry:
            return
        self._opened = time.monotonic()
        try:
            self._collector = Collector(self._endpoint, self._instance, self._ago, self._closing)
        except CollectorError as error:
            # A file that is just being replaced is whole a moment later.
            self._complain(f"{error}; tried again every {self._retry:g} s")

    def _tell(self) -> None:
        collector = self._collector
        if collector is None:
            # One by one: the loop may put another one in at any moment.
            self._waiting.popleft()
            self.failed += 1
            return
        batch = collector.batch()
        requests = 0
        while self._waiting and requests < AT_ONCE:
            request, trace = self._waiting.popleft()
            for span in spans_of(request, trace):
                batch.add(span, trace)
            requests += 1
            time.sleep(0)
        why = collector.send(batch, self._until - time.monotonic())
        if not why:
            self.exported += requests
            self._recover()
            return
        self.failed += requests
        self._complain(why)
        if time.monotonic() - self._opened >= self._retry:
            # Its certificates may have been replaced.
            self._collector = None
            collector.close()

    def _complain(self, why: str) -> None:
        now = time.monotonic()
        if now - self._complained < self._retry:
            return
        self._complained = now
        self._is_told_lost = True
        logger.warning(
            "the collector at %s takes no traces (--otlp-traces-endpoint): %s; %s lost so far",
            self._endpoint,
            why,
            self._lost,
        )

    def _recover(self) -> None:
        if self._is_told_lost:
            self._is_told_lost = False
            logger.info("the collector at %s takes traces again; %s lost until then", self._endpoint, self._lost)

    @property
    def _lost(self) -> str:
        return "1 was" if self.failed == 1 else f"{self.failed} were"
