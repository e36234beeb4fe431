"""Adaptive limits at work: once a second, from what the planes tell of each worker to what is lent of its limit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from controlplane.admission.adaptive import Limit, Seen, begin, step
from controlplane.admission.lender import Lender
from controlplane.outcomes import Outcomes
from controlplane.planes import Planes
from shared.clock import Clock
from shared.limits import WORKER, worker_limits
from shared.messages import COUNTER_INTERVAL
from shared.table import RoutingTable

log = logging.getLogger(__name__)


class Adapting:
    """Finds the limits of the workers in the table, while its settings want that."""

    def __init__(self, lender: Lender, planes: Planes, clock: Clock) -> None:
        self._lender = lender
        self._planes = planes
        self._clock = clock
        self._table: RoutingTable | None = None
        self._outcomes = Outcomes()
        # With the life of the worker that it was found for: another engine may be another machine.
        self._limits: dict[str, tuple[int, Limit]] = {}

    def use(self, table: RoutingTable) -> None:
        """Go by the table that is published."""
        self._table = table

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(COUNTER_INTERVAL)
            self.turn()

    def turn(self) -> None:
        """Do what is due."""
        table = self._table
        if table is None or not table.settings.adaptive_worker_limit:
            self._limits = {}
            self._lender.adapt({})
            return
        now = self._clock.monotonic()
        self._outcomes.read(self._planes.present(), {one.id: one.epoch for one in table.workers.values()}, now)
        self._lender.adapt(self._found(table, now))

    def _found(self, table: RoutingTable, now: float) -> Mapping[str, int]:
        samples, before, amounts = self._outcomes.samples(), self._limits, {}
        inflight = self._planes.inflight_by_worker()
        self._limits = {}
        for name, _, most in worker_limits(table.settings, table.workers.values()):
            worker = table.workers[name.removeprefix(WORKER)]
            count = inflight.get(worker.id, 0)
            epoch, limit = before.get(worker.id, (0, None))
            if limit is None or epoch != worker.epoch:
                limit = begin(count, most, now)
            elif (sample := samples.get(worker.id)) is not None:
                seen = Seen(sample.succeeded, sample.streams, sample.first_byte_seconds, count)
                found = step(limit, seen, most, now)
                if found.now != limit.now:
                    log.debug("worker %s may have %d requests at a time", worker.id, found.now)
                limit = found
            self._limits[worker.id] = worker.epoch, limit
            amounts[name] = limit.now
        return amounts
