"""Histories of lost, doubled and reordered messages, of planes that die and control planes that begin anew.

In every one of them the planes together may use, and do use, no more than the limit, of a window the dead ones
included; and when all is well again, all of it is used where it is needed, and no plane starves.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controlplane.admission.ledger import Ledger
from controlplane.admission.lender import haunted_until
from shared.leases import LeaseGrant, LeaseReport
from shared.limits import TOTAL, WINDOW, Kind, Limit
from shared.table import Stamp
from tests.unit.dataplane.admission.plane_model import LONGEST, PlaneModel

PLANES = 3
STEP = 0.05
places = st.integers(0, PLANES - 1)
positions = st.integers(0, 30)


class Leases(RuleBasedStateMachine):
    """Some planes, one control plane or none, and a network that does as it likes."""

    @initialize(amount=st.sampled_from((1, 2, 7, 50)), kind=st.sampled_from(("slots", "window")))
    def begin(self, amount: int, kind: Kind) -> None:
        self.limit = Limit(TOTAL, kind, amount)
        self.now = 1000.0
        self.born = 0
        self.epoch = 0
        self.ledger: Ledger | None = None
        self.planes = [self.new_plane() for _ in range(PLANES)]
        self.dead: list[str] = []
        self.left: list[float] = []
        self.up: list[LeaseReport] = []
        self.down: list[tuple[str, LeaseGrant]] = []
        self.start_control_plane()

    def new_plane(self) -> PlaneModel:
        self.born += 1
        return PlaneModel(f"plane-{self.born}", self.limit, PLANES, self.now)

    # --- what happens ----------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((0.01, 0.05, 0.3, 0.9, 1.1, 3.1, 13.0, 61.0)))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for plane in self.planes:
            plane.pass_time(self.now)

    @rule(place=places, count=st.sampled_from((1, 3, 60)))
    def arrive(self, place: int, count: int) -> None:
        plane = self.planes[place]
        plane.waiting = min(200, plane.waiting + count)
        plane.admit(self.now)

    @rule(place=places, count=st.sampled_from((1, 60)))
    def end(self, place: int, count: int) -> None:
        plane = self.planes[place]
        if self.limit.kind == "slots":
            plane.begun = plane.begun[count:]
        plane.admit(self.now)

    @rule(place=places)
    def give_up_waiting(self, place: int) -> None:
        self.planes[place].waiting = 0

    @rule(place=places)
    def report(self, place: int) -> None:
        self.up.append(self.planes[place].report(self.now))

    @rule(place=places)
    def follow(self, place: int) -> None:
        """Hear of the newest control plane."""
        self.planes[place].epoch = self.epoch

    @rule(position=positions, again=st.booleans())
    def deliver_report(self, position: int, again: bool) -> None:
        if not self.up:
            return
        report = self.up[position % len(self.up)]
        if not again:
            self.up.remove(report)
        if self.ledger is not None:
            self.ledger.heard(report, self.now)

    @rule(position=positions, again=st.booleans())
    def deliver_grant(self, position: int, again: bool) -> None:
        if not self.down:
            return
        name, grant = one = self.down[position % len(self.down)]
        if not again:
            self.down.remove(one)
        for plane in self.planes:
            if plane.identity.id == name and plane.take(grant):
                plane.admit(self.now)

    @rule()
    def lose_all(self) -> None:
        self.up, self.down = [], []

    @rule()
    def decide(self) -> None:
        if self.ledger is not None:
            stamp = Stamp(self.epoch, 1, 0)
            for grant in self.ledger.due(self.now):
                self.down.append((grant.plane, LeaseGrant(stamp, grant.number, grant.answers, grant.leases)))

    @rule(seconds=st.sampled_from((0.05, 0.3)))
    def exchange(self, seconds: float) -> None:
        """All is well for a moment."""
        for _ in range(3):
            self.talk()
        self.pass_time(seconds)

    def talk(self) -> None:
        """Let every plane report and get what it is granted."""
        for place, plane in enumerate(self.planes):
            self.follow(place)
            if self.ledger is not None:
                self.ledger.heard(plane.report(self.now), self.now)
        before = len(self.down)
        self.decide()
        granted, self.down = self.down[before:], self.down[:before]
        for name, grant in granted:
            for plane in self.planes:
                if plane.identity.id == name and plane.take(grant):
                    plane.admit(self.now)

    @rule(place=places)
    def kill_plane(self, place: int) -> None:
        self.dead.append(self.planes[place].identity.id)
        if self.limit.kind == "window":
            self.left += self.planes[place].begun
        self.planes[place] = self.new_plane()

    @precondition(lambda self: self.dead)
    @rule()
    def find_dead(self) -> None:
        for name in self.dead:
            if self.ledger is not None:
                self.ledger.gone(name, self.now)
        self.dead = []

    @rule()
    def kill_control_plane(self) -> None:
        self.ledger = None

    @rule()
    def start_control_plane(self) -> None:
        self.epoch += 1
        alive = [plane.identity for plane in self.planes]
        haunted = haunted_until(alive, PLANES, self.now, self.now) if self.epoch > 1 else self.now
        self.ledger = Ledger(self.epoch, [plane.id for plane in alive], self.now, haunted)
        self.ledger.use((self.limit,), PLANES, LONGEST)

    # --- what holds ------------------------------------------------------------------------------------

    @invariant()
    def never_more_than_the_limit(self) -> None:
        most = [plane.most(self.now) for plane in self.planes]
        left = sum(self.now - taken < WINDOW for taken in self.left)
        assert sum(most) + left <= self.limit.amount, (most, left)

    def teardown(self) -> None:
        if not hasattr(self, "planes"):
            return
        self.find_dead()
        self.kill_control_plane()
        self.start_control_plane()
        if self.limit.kind == "window":
            for _ in range(3):
                self.exchange(0.05)
            self.pass_time(WINDOW + 1)
        for plane in self.planes:
            plane.waiting, plane.admitted = 1000, 0
        used = []
        for _ in range(round(3.0 / STEP)):
            self.lose_all()
            self.talk()
            self.pass_time(STEP)
            for plane in self.planes:
                if self.limit.kind == "slots":
                    plane.begun = [began for began in plane.begun if self.now - began < 0.2]
                plane.waiting = 1000
                plane.admit(self.now)
            self.never_more_than_the_limit()
            used.append(sum(len(plane.begun) for plane in self.planes))
        if self.limit.kind == "slots" or self.limit.amount >= PLANES:
            assert all(plane.admitted for plane in self.planes), "a plane starves"
        if self.limit.amount >= PLANES:
            # Now and then one is on its way from plane to plane.
            assert sum(used[-20:]) >= 20 * 0.8 * self.limit.amount, "some lie idle"


TestLeases = Leases.TestCase
TestLeases.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class LongLeases(Leases):
    """The same, many more and longer."""


TestLongLeases = pytest.mark.slow(pytest.mark.timeout(900)(LongLeases.TestCase))
TestLongLeases.settings = settings(TestLeases.settings, max_examples=1500, stateful_step_count=60)
