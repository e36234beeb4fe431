"""What the control plane keeps of what was counted: sums for its next life, the last minute, and the history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from controlplane.admission.standing import AdmissionStatus
from controlplane.breaker import Breakers
from controlplane.ejection import Ejections
from controlplane.figures.watch import Watch
from controlplane.planes import Planes
from controlplane.publication import Publication
from controlplane.reports.history import History
from controlplane.reports.rows import Row
from controlplane.totals_store import Tallies, TotalsStore
from shared.clock import Clock
from shared.runtime_dir import RuntimeDir


class Ledger:
    """The sums' store and those that read the sums, as one task."""

    def __init__(
        self,
        runtime: RuntimeDir,
        planes: Planes,
        publication: Publication,
        breakers: Breakers,
        ejections: Ejections,
        clock: Clock,
        admission: Callable[[], AdmissionStatus],
    ) -> None:
        """Of workers that are not in the published table nothing is kept."""
        self.transitions = breakers.transitions
        self.ejections = ejections.counts
        tallies: Tallies = {"transitions": self.transitions, "ejections": self.ejections}
        self._store = TotalsStore(runtime, planes, tallies, lambda: publication.table.workers)
        self._history = History(
            runtime,
            planes,
            lambda: publication.table.workers,
            clock,
            breakers=self.transitions,
            ejections=self.ejections,
            admission=admission,
        )
        self._clock = clock
        self.watch = Watch(planes, clock)

    def take_over(self, alive: Collection[str]) -> None:
        """Begin with what an earlier control plane kept; `alive` are the ids of the planes that live."""
        self._store.take_over(alive, self._clock.monotonic())
        self._history.take_over()

    def newest(self) -> Row | None:
        """Return what the history has not written yet, as a row; None while it is not known."""
        return self._history.newest()

    def write_soon(self) -> None:
        """Write the sums without waiting for the next turn."""
        self._store.write_soon()

    def write(self) -> None:
        """Write all of it now."""
        self._history.write()
        self._store.write()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._store.run())
            group.create_task(self._history.run())
            group.create_task(self.watch.run())
