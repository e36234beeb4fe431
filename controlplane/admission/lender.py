"""The book of leases at work: reports come in, grants go out, the dead are struck out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Protocol

from controlplane.admission.ledger import Ledger
from controlplane.admission.limit_book import Set
from controlplane.admission.standing import AdmissionStatus, admission_status
from controlplane.planes import Planes
from shared.client_keys import tenant_weights
from shared.clock import Clock
from shared.leases import Lease, LeaseReport
from shared.limits import WINDOW, Kind, Limit, Taken, limits_of, worker_limits
from shared.plane_identity import PlaneIdentity
from shared.table import RoutingTable, Settings

SPACING = 0.01
"""Seconds between two rounds of grants at least: what planes tell in that time is decided about together."""
_LOOK_INTERVAL = 0.25
"""Seconds between two looks for planes that have died without a word."""


class Granting(Protocol):
    """The way to a plane."""

    def grant(self, plane: str, number: int, answers: int, since: int, leases: dict[str, Lease | None]) -> None:
        """Tell a plane what it may use of the limits; see `LeaseGrant`."""
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
        haunted_until: float = -inf,
    ) -> None:
        """`alive` are the planes here that lived before this control plane did, by their ids; `planes` has others.

        `haunted_until` is as in `Ledger`.
        """
        self._planes = planes
        self._clock = clock
        self._is_dead = is_dead
        elsewhere = {plane.identity.id: plane.identity for plane in planes.present() if plane.identity.host}
        self._known = {**alive, **elsewhere}
        self.ledger = Ledger(epoch, self._known, clock.monotonic(), haunted_until)
        self.limits: dict[str, tuple[Kind, int]] = {}
        self._waiting: dict[str, int] = {}
        self._said: tuple[Limit, ...] = ()
        self._found: Mapping[str, int] = {}
        self._settings = Settings()
        self._version = 0
        self._changed = asyncio.Event()

    def use(self, table: RoutingTable) -> None:
        """Go by the limits of the table that is published."""
        settings = table.settings
        limits = (*limits_of(settings), *worker_limits(settings, table.workers.values()))
        self._said, self._settings, self._version = limits, settings, table.stamp.version
        self._go_by_limits()

    def adapt(self, amounts: Mapping[str, int]) -> None:
        """Lend no more of these limits (by their names) than so much, and of all others what is said."""
        if amounts != self._found:
            self._found = amounts
            self._go_by_limits()

    def _go_by_limits(self) -> None:
        found, settings = self._found, self._settings
        limits = tuple(one._replace(amount=min(one.amount, found.get(one.name, one.amount))) for one in self._said)
        self.limits = {limit.name: (limit.kind, limit.amount) for limit in limits}
        self.ledger.use(
            limits,
            settings.data_planes,
            settings.request_timeout,
            tenant_weights(settings.client_keys or ()),
            was_set=Set(self._version, self._clock.monotonic()),
            present=[plane.identity.id for plane in self._planes.present()],
        )
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
        if self.ledger.gone(plane.id, self._clock.monotonic()):
            self._changed.set()

    def ended(self, plane: PlaneIdentity, windows: Mapping[str, Taken]) -> None:
        """Know that a plane has ended by request, with what it took of limits per minute."""
        self._known.pop(plane.id, None)
        self._waiting.pop(plane.id, None)
        if self.ledger.ended(plane.id, windows, self._clock.monotonic()):
            self._changed.set()

    def waiting(self) -> dict[str, int]:
        """Return how many requests wait, by the planes' labels."""
        return {self._known[plane].label: count for plane, count in self._waiting.items()}

    def status(self) -> AdmissionStatus:
        """Return how full the limits are."""
        return admission_status(self.limits, self.ledger, self._waiting, self._clock.monotonic())

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
            if self.ledger.is_behind:
                self._changed.set()
            await asyncio.sleep(SPACING)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_INTERVAL)
            # Without limits planes have nothing to tell, and nobody waits for what the dead had.
            for plane in self.ledger.silent(self._clock.monotonic()) if self.limits else ():
                # Of planes on other hosts only their successors or a long silence tell.
                if not self._known[plane].host and self._is_dead(self._known[plane]):
                    self.gone(self._known[plane])
            # What nobody reports may have become certain by time alone.
            self.ledger.look(self._clock.monotonic())
            self._changed.set()


def haunted_until(alive: Iterable[PlaneIdentity], planes: int, now: float, wall: float) -> float:
    """Return until when a window may have been used by planes that are dead, where these live of so many.

    Each place whose plane is missing, or was begun lately, had another one before. `now` and the result are monotonic
    seconds, `wall` is Unix time.
    """
    started = [plane.started for plane in alive]
    if len(started) < planes:
        return now + WINDOW
    return now + WINDOW - max(0.0, wall - max(started, default=wall))
