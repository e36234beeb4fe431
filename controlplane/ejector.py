"""Once a second: reads what planes tell of their requests, ends ejections, and after each interval makes new ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from controlplane.ejection import Ejections
from controlplane.outcomes import Outcomes
from controlplane.planes import Planes
from controlplane.registry import Change, Registry
from shared.clock import Clock
from shared.messages import COUNTER_INTERVAL
from shared.table import Breaker, Worker

log = logging.getLogger(__name__)


class Ejector:
    """Calls `changed` with each worker that goes or comes back."""

    def __init__(
        self,
        registry: Registry,
        planes: Planes,
        ejections: Ejections,
        *,
        breaker_of: Callable[[Worker], Breaker | None],
        changed: Callable[[Change], None],
        clock: Clock,
    ) -> None:
        """`breaker_of` tells a worker's breaker, None while it is closed."""
        self.outcomes = Outcomes()
        self._registry = registry
        self._planes = planes
        self._ejections = ejections
        self._breaker_of = breaker_of
        self._changed = changed
        self._clock = clock
        self._judged = clock.monotonic()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(COUNTER_INTERVAL)
            self.turn()

    def turn(self) -> None:
        """Do what is due."""
        now, wall = self._clock.monotonic(), round(self._clock.wall(), 3)
        workers = [member.worker for member in self._registry.members()]
        self.outcomes.read(self._planes.present(), {worker.id: worker.epoch for worker in workers}, now)
        for worker_id in self._ejections.over(workers, now):
            self._tell(self._registry.eject(worker_id, "", wall=wall))
        interval = self._ejections.rules.interval
        if not interval or now - self._judged < interval:
            return
        self._judged = now
        broken = {worker.id for worker in workers if self._breaker_of(worker) is not None}
        for worker, outlier, seconds in self._ejections.judge(workers, broken, self.outcomes.samples(), now):
            log.warning("worker %s is ejected for %g s", worker.id, seconds)
            self._tell(self._registry.eject(worker.id, outlier.reason, wall=wall))

    def _tell(self, change: Change | None) -> None:
        if change is not None:
            self._changed(change)
