"""How late the event loop is: while it is held up, every request of the plane waits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from dataplane.histogram import Histogram
from shared import catalog
from shared.clock import Clock
from shared.plane_report import HistogramSeries

INTERVAL = 0.1
"""Seconds between two looks: ten a second cost nothing that can be measured, and tell a p99 within seconds."""


class LoopLag:
    """Asks to be called back, again and again, and observes how much later that is done."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._histogram = Histogram(catalog.LOOP_LAG.buckets)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            due = self._clock.monotonic() + INTERVAL
            await asyncio.sleep(INTERVAL)
            self._histogram.observe(max(0.0, self._clock.monotonic() - due))

    def series(self) -> Iterator[HistogramSeries]:
        """Yield what is to be reported."""
        yield HistogramSeries(catalog.LOOP_LAG.name, (), tuple(self._histogram.counts), self._histogram.sum)
