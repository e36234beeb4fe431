"""Ended requests on their way to a collector, in a thread of its own.

Spans are made here, not while the request lasts: that costs the event loop one entry in a queue. The thread gives the
interpreter's lock back after each request, so the loop never waits for more than one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from dataplane.access_lines import Ended
from dataplane.tracing.context import Trace
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
"""Seconds for what is left at the end."""
_COMPLAINT_SPACING = 60.0

logger = logging.getLogger(__name__)


class Exporter:
    """Takes ended requests in the event loop and tells of them in its thread.

    `exported` and `failed` count requests; only the thread changes them.
    """

    def __init__(self, endpoint: str, instance: str, ago: float, *, delay: float = DELAY) -> None:
        """Begin; the others as `dataplane.tracing.otlp.Collector`."""
        self.exported = 0
        self.failed = 0
        self._endpoint = endpoint
        self._instance = instance
        self._ago = ago
        self._delay = delay
        self._waiting: deque[tuple[Ended, Trace]] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._complained = float("-inf")
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

    def close(self) -> None:
        """Tell of those that wait, within `LAST_WORDS`."""
        self._closing.set()
        self._wake.set()
        self._thread.join(LAST_WORDS)

    def _run(self) -> None:
        try:
            from dataplane.tracing.otlp import Collector, CollectorError
        except ImportError as error:
            logger.error("no traces: %s; install routerctl[otel] where this plane runs", error)
            return
        try:
            collector = Collector(self._endpoint, self._instance, self._ago, self._closing)
        except CollectorError as error:
            logger.error("no traces until a new start of this plane: %s", error)
            return
        while not self._closing.is_set():
            self._wake.wait(self._delay)
            self._wake.clear()
            while self._waiting and not self._closing.is_set():
                self._tell(collector)
        until = time.monotonic() + LAST_WORDS
        while self._waiting and time.monotonic() < until:
            self._tell(collector)
        collector.close()

    def _tell(self, collector: Collector) -> None:
        batch = collector.batch()
        requests = 0
        while self._waiting and requests < AT_ONCE:
            request, trace = self._waiting.popleft()
            for span in spans_of(request, trace):
                batch.add(span, trace)
            requests += 1
            time.sleep(0)
        if collector.send(batch):
            self.exported += requests
            return
        self.failed += requests
        now = time.monotonic()
        if now - self._complained >= _COMPLAINT_SPACING:
            self._complained = now
            logger.warning(
                "the collector at %s takes no traces (--otlp-traces-endpoint); %d were lost so far",
                self._endpoint,
                self.failed,
            )
