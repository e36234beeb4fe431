"""The book of leases at work: reports come in, grants go out, the dead are struck out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from controlplane.admission.ledger import Ledger
from controlplane.planes import Planes
from shared.clock import Clock
from shared.leases import Lease, LeaseReport
from shared.limits import Kind, limits_of
from shared.plane_identity import PlaneIdentity
from shared.table import Settings

SPACING = 0.01
"""Seconds between two rounds of grants at least: what planes tell in that time is decided about together."""
_LOOK_INTERVAL = 0.25
"""Seconds between two looks for planes that have died without a word."""


class Granting(Protocol):
    """The way to a plane."""

    def grant(self, plane: str, number: int, answers: int, leases: dict[str, Lease]) -> None:
        """Tell a plane what it may use of the limits."""
        ...


class Lender:
    """Lends parts of the limits to the planes that report."""

    def __init__(
        self,
        epoch: int,
        alive: Mapping[str, PlaneIdentity],
        planes: Planes,
        clock: Clock,
        is_dead: Callable[[PlaneIdentity], bool],
    ) -> None:
        """`alive` are the planes here that lived before this control plane did, by their ids; `planes` has others."""
        self._clock = clock
        self._is_dead = is_dead
        elsewhere = {plane.identity.id: plane.identity for plane in planes.present() if plane.identity.host}
        self._known = {**alive, **elsewhere}
        self.ledger = Ledger(epoch, self._known, clock.monotonic())
        self.limits: dict[str, tuple[Kind, int]] = {}
        self._waiting: dict[str, int] = {}
        self._changed = asyncio.Event()

    def use(self, settings: Settings) -> None:
        """Go by the limits of the settings that are published."""
        self.limits = {limit.name: (limit.kind, limit.amount) for limit in limits_of(settings)}
        self.ledger.use({name: amount for name, (_, amount) in self.limits.items()}, settings.data_planes)
        self._changed.set()

    def heard(self, report: LeaseReport) -> None:
        """Take a plane's report in."""
        if self.ledger.heard(report, self._clock.monotonic()):
            self._known[report.plane.id] = report.plane
            self._waiting[report.plane.id] = report.waiting
            self._changed.set()

    def gone(self, plane: PlaneIdentity) -> None:
        """Know that a plane is dead."""
        self._known.pop(plane.id, None)
        self._waiting.pop(plane.id, None)
        if self.ledger.gone(plane.id):
            self._changed.set()

    def waiting(self) -> dict[str, int]:
        """Return how many requests wait, by the planes' labels."""
        return {self._known[plane].label: count for plane, count in self._waiting.items()}

    async def run(self, publisher: Granting) -> None:
        """Grant until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._lend(publisher))
            group.create_task(self._look())

    async def _lend(self, publisher: Granting) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            for grant in self.ledger.due(self._clock.monotonic()):
                publisher.grant(*grant)
            await asyncio.sleep(SPACING)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_INTERVAL)
            for plane in self.ledger.silent(self._clock.monotonic()):
                # Of planes on other hosts only their successors or a long silence tell.
                if not self._known[plane].host and self._is_dead(self._known[plane]):
                    self.gone(self._known[plane])
            # What nobody reports may have become certain by time alone.
            self._changed.set()
