"""Two tenants at some planes, in simulated time: one that uses its share, one that asks for ten times its own."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from controlplane.admission.ledger import Ledger
from controlplane.admission.lender import SPACING
from dataplane.admission.borrower import LOOK_INTERVAL, Borrower
from dataplane.admission.gate import Gate
from dataplane.admission.line import LaneKey
from dataplane.admission.ticket import Ticket
from shared.leases import RENEWAL_INTERVAL, LeaseGrant, LeaseReport
from shared.limits import TOTAL, Limit
from shared.plane_identity import PlaneIdentity
from shared.table import Stamp

LIMIT, SERVICE, LATENCY = 20, 0.2, 0.002
LIMITS = (Limit(TOTAL, "slots", LIMIT),)


class Plane:
    """A plane with all that decides about its requests."""

    def __init__(self, number: int, planes: int, weights: dict[str, int], now: float) -> None:
        self.identity = PlaneIdentity(id=f"p{number}", slot=number, pid=1, version="1", started=now)
        self.gate = Gate()
        self.gate.use(LIMITS, 1000)
        self.gate.shares.weights = weights
        self.borrower = Borrower(self.gate, now)
        self.borrower.use(LIMITS, planes, 100.0)
        self.told = 0.0


class Fleet:
    """Planes, a control plane, and clients that ask again 1 to 3 ms after they are answered."""

    def __init__(self, planes: int, clients: dict[str, int], seed: int, weights: dict[str, int] | None = None) -> None:
        self.now = 100.0
        self.waits: dict[str, list[float]] = {tenant: [] for tenant in clients}
        self._random = Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        weights = weights or {}
        self._ledger = Ledger(1, (), self.now)
        self._ledger.use(LIMITS, planes, 100.0, weights)
        self._planes = [Plane(number, planes, weights, self.now) for number in range(planes)]
        for plane in self._planes:
            self._look(plane)
        self._decide()
        for tenant, count in clients.items():
            for _ in range(count):
                self._at(self._random.random(), self._asking(self._random.choice(self._planes), tenant))

    def run(self, seconds: float) -> None:
        ends = self.now + seconds
        while self._events[0][0] <= ends:
            self.now, _, what = heapq.heappop(self._events)
            what()

    def counted(self, seconds: float) -> dict[str, list[float]]:
        """Return for how long the requests waited that went on in these seconds, by tenant."""
        self.run(3.0)
        for waits in self.waits.values():
            waits.clear()
        self.run(seconds)
        return self.waits

    def _at(self, delay: float, what: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + delay, self._number, what))

    # --- requests --------------------------------------------------------------------------------------

    def _asking(self, plane: Plane, tenant: str) -> Callable[[], None]:
        return lambda: self._ask(plane, tenant)

    def _ask(self, plane: Plane, tenant: str) -> None:
        ticket = Ticket(LaneKey(0, tenant, "m"), 10, self.now)
        if plane.gate.enter(ticket, self.now):
            self._went(plane, ticket)
        elif plane.gate.waiting_like(ticket) <= 1:
            self._report(plane)

    def _went(self, plane: Plane, ticket: Ticket) -> None:
        self.waits[ticket.key.tenant].append(self.now - ticket.since)
        self._at(SERVICE * self._random.uniform(0.97, 1.03), lambda: self._end(plane, ticket))

    def _end(self, plane: Plane, ticket: Ticket) -> None:
        plane.gate.leave(ticket, self.now)
        self._wake(plane)
        self._at(self._random.uniform(0.001, 0.003), self._asking(plane, ticket.key.tenant))

    def _wake(self, plane: Plane) -> None:
        for ticket in plane.gate.wake(self.now):
            self._went(plane, ticket)
        soon = plane.gate.room_in(self.now)
        if soon is not None:
            self._at(soon + 1e-6, lambda: self._wake(plane))

    # --- leases ----------------------------------------------------------------------------------------

    def _look(self, plane: Plane) -> None:
        self._report(plane)
        self._at(LOOK_INTERVAL, lambda: self._look(plane))

    def _report(self, plane: Plane) -> None:
        is_due = self.now - plane.told >= RENEWAL_INTERVAL
        report = plane.borrower.report(plane.identity, 1, self.now, is_due=is_due)
        if report is not None:
            plane.told = self.now
            self._at(LATENCY, lambda: self._hear(report))

    def _hear(self, report: LeaseReport) -> None:
        self._ledger.heard(report, self.now)

    def _decide(self) -> None:
        for one in self._ledger.due(self.now):
            grant = LeaseGrant(Stamp(1, 1, 0), one.number, one.answers, one.since, one.leases)
            plane = next(plane for plane in self._planes if plane.identity.id == one.plane)
            self._at(LATENCY, lambda plane=plane, grant=grant: self._take(plane, grant))  # type: ignore[misc]
        self._at(SPACING, self._decide)

    def _take(self, plane: Plane, grant: LeaseGrant) -> None:
        is_less = plane.borrower.take(grant, self.now)
        self._wake(plane)
        if is_less:
            self._report(plane)


def p99(waits: list[float]) -> float:
    return sorted(waits)[len(waits) * 99 // 100]


@pytest.mark.parametrize("planes", [1, 2, 4])
def test_a_tenant_within_its_share_hardly_waits_beside_one_that_floods(planes: int) -> None:
    waits = Fleet(planes, {"quiet": LIMIT // 2, "flood": 5 * LIMIT}, seed=planes).counted(8.0)
    assert p99(waits["quiet"]) < 0.1 * SERVICE
    # What is kept for the quiet one costs the other one next to nothing.
    assert len(waits["flood"]) * SERVICE / 8.0 > 0.95 * LIMIT / 2


@pytest.mark.parametrize("planes", [1, 2])
def test_tenants_get_what_their_weights_say_and_what_others_do_not_use(planes: int) -> None:
    clients = {"heavy": 60, "light": 60}
    gone = Counter({name: len(waits) for name, waits in Fleet(planes, clients, 1, {"heavy": 3}).counted(8.0).items()})
    assert gone["heavy"] / gone["light"] == pytest.approx(3.0, rel=0.15)
    gone = Counter({name: len(waits) for name, waits in Fleet(planes, {"light": 60}, 1).counted(4.0).items()})
    assert gone["light"] * SERVICE / 4.0 == pytest.approx(LIMIT, rel=0.06)
