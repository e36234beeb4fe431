"""How soon a part is where it is needed: messages take 5 ms, and both sides look as often as they do."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from controlplane.admission.ledger import Ledger
from controlplane.admission.lender import SPACING
from dataplane.admission.borrower import LOOK_INTERVAL
from dataplane.admission.reporting import SPACING as REPORT_SPACING
from shared.leases import LeaseGrant
from shared.limits import TOTAL, Limit
from shared.table import Stamp
from tests.unit.dataplane.admission.plane_model import LONGEST, PlaneModel

LATENCY = 0.005
LIMIT = 40


class Timeline:
    """Two planes and a control plane, in simulated time."""

    def __init__(self) -> None:
        self.now = 100.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self.ledger = Ledger(1, (), self.now)
        self.ledger.use((Limit(TOTAL, "slots", LIMIT),), 2, LONGEST)
        self.planes = [PlaneModel(name, (Limit(TOTAL, "slots", LIMIT),), 2, self.now) for name in ("a", "b")]
        for plane in self.planes:
            plane.epoch = 1
            self._look(plane)
        self._decide()

    def at(self, delay: float, what: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + delay, self._number, what))

    def run(self, seconds: float) -> None:
        ends = self.now + seconds
        while self._events and self._events[0][0] <= ends:
            self.now, _, what = heapq.heappop(self._events)
            what()
        self.now = ends

    def run_until(self, reached: Callable[[], bool]) -> float:
        """Return the seconds that it took."""
        began = self.now
        while not reached():
            self.now, _, what = heapq.heappop(self._events)
            assert self.now < began + 10
            what()
        return self.now - began

    def report(self, plane: PlaneModel) -> None:
        """Send a report as soon as one may be sent."""
        self.at(REPORT_SPACING, lambda: self._send(plane))

    def _send(self, plane: PlaneModel) -> None:
        report = plane.report(self.now)

        def comes() -> None:
            self.ledger.heard(report, self.now)

        self.at(LATENCY, comes)

    def _look(self, plane: PlaneModel) -> None:
        self._send(plane)
        self.at(LOOK_INTERVAL, lambda: self._look(plane))

    def _decide(self) -> None:
        for grant in self.ledger.due(self.now):
            message = LeaseGrant(Stamp(1, 1, 0), grant.number, grant.answers, grant.since, grant.leases)
            plane = next(one for one in self.planes if one.identity.id == grant.plane)
            self.at(LATENCY, lambda plane=plane, message=message: self._take(plane, message))  # type: ignore[misc]
        self.at(SPACING, self._decide)

    def _take(self, plane: PlaneModel, message: LeaseGrant) -> None:
        before = plane.permitted(TOTAL, self.now)
        plane.take(message, self.now)
        plane.admit(self.now)
        if plane.permitted(TOTAL, self.now) < before:
            self.report(plane)


def test_what_an_idle_plane_has_is_another_one_s_within_100_ms() -> None:
    time = Timeline()
    time.run(1.0)
    idle, busy = time.planes
    assert idle.permitted(TOTAL, time.now) == busy.permitted(TOTAL, time.now) == LIMIT // 2
    busy.want(TOTAL, 200, time.now)
    time.report(busy)
    assert time.run_until(lambda: busy.quotas[TOTAL].in_use >= LIMIT - 1) <= 0.1


def test_what_requests_leave_is_another_plane_s_within_100_ms() -> None:
    time = Timeline()
    one, other = time.planes
    for plane in time.planes:
        plane.want(TOTAL, 200, time.now)
    time.run(1.0)
    assert one.quotas[TOTAL].in_use + other.quotas[TOTAL].in_use == LIMIT
    one.quotas[TOTAL].waiting = 0
    one.quotas[TOTAL].end(LIMIT)
    assert time.run_until(lambda: other.quotas[TOTAL].in_use >= LIMIT - 1) <= 0.1
