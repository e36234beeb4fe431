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
NAMES = (TOTAL, "key:one:open", "key:two:open")
places = st.integers(0, PLANES - 1)
positions = st.integers(0, 30)
names = st.sampled_from(NAMES)


class Leases(RuleBasedStateMachine):
    """Some planes, one control plane or none, and a network that does as it likes.

    There is one limit that is lent at once, and two that are lent when they are needed.
    """

    @initialize(
        amount=st.sampled_from((1, 2, 7, 50)),
        kind=st.sampled_from(("slots", "window")),
        at_once=st.sampled_from((1, 64)),
    )
    def begin(self, amount: int, kind: Kind, at_once: int) -> None:
        self.amount, self.kind, self.at_once = amount, kind, at_once
        self.limits = tuple(Limit(name, kind, amount) for name in NAMES)
        self.now = 1000.0
        self.born = 0
        self.epoch = 0
        self.ledger: Ledger | None = None
        self.planes = [self.new_plane() for _ in range(PLANES)]
        self.dead: list[str] = []
        self.left: dict[str, list[float]] = {name: [] for name in NAMES}
        self.up: list[LeaseReport] = []
        self.down: list[tuple[str, LeaseGrant]] = []
        self.start_control_plane()

    def new_plane(self) -> PlaneModel:
        self.born += 1
        return PlaneModel(f"plane-{self.born}", self.limits, PLANES, self.now)

    # --- what happens ----------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((0.01, 0.05, 0.3, 0.9, 1.1, 3.1, 13.0, 61.0)))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for plane in self.planes:
            plane.pass_time(self.now)

    @rule(place=places, name=names, count=st.sampled_from((1, 3, 60)))
    def arrive(self, place: int, name: str, count: int) -> None:
        self.planes[place].want(name, count, self.now)

    @rule(place=places, name=names, count=st.sampled_from((1, 60)))
    def end(self, place: int, name: str, count: int) -> None:
        plane = self.planes[place]
        plane.quotas[name].end(count)
        plane.admit(self.now)

    @rule(place=places, name=names)
    def give_up_waiting(self, place: int, name: str) -> None:
        self.planes[place].quotas[name].waiting = 0

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
            if plane.identity.id == name and plane.take(grant, self.now):
                plane.admit(self.now)

    @rule()
    def lose_all(self) -> None:
        self.up, self.down = [], []

    @rule()
    def decide(self) -> None:
        if self.ledger is not None:
            stamp = Stamp(self.epoch, 1, 0)
            self.ledger.look(self.now)
            self.ledger.is_behind = True
            while self.ledger.is_behind:
                for one in self.ledger.due(self.now):
                    grant = LeaseGrant(stamp, one.number, one.answers, one.since, one.leases)
                    self.down.append((one.plane, grant))

    @rule(seconds=st.sampled_from((0.05, 0.3)))
    def exchange(self, seconds: float) -> None:
        """All is well for a moment."""
        for _ in range(3):
            self.talk()
        self.pass_time(seconds)

    @rule()
    def rest(self) -> None:
        """All is well, and nobody needs anything for longer than a window, or than a limit is remembered."""
        for plane in self.planes:
            for quota in plane.quotas.values():
                quota.waiting = 0
        for _ in range(7):
            self.exchange(10.0)

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
                if plane.identity.id == name and plane.take(grant, self.now):
                    plane.admit(self.now)

    @rule(place=places)
    def kill_plane(self, place: int) -> None:
        self.dead.append(self.planes[place].identity.id)
        if self.kind == "window":
            for name, quota in self.planes[place].quotas.items():
                self.left[name] += quota.begun
        self.planes[place] = self.new_plane()

    @rule(place=places, is_heard=st.booleans())
    def end_plane(self, place: int, is_heard: bool) -> None:
        """Have one end by request; its last word is heard, or it is found dead later."""
        plane = self.planes[place]
        taken = plane.taken(self.now) if self.kind == "window" else {}
        self.kill_plane(place)
        if is_heard and self.ledger is not None:
            self.dead.remove(plane.identity.id)
            self.ledger.ended(plane.identity.id, taken, self.now)

    @precondition(lambda self: self.dead)
    @rule()
    def find_dead(self) -> None:
        for name in self.dead:
            if self.ledger is not None:
                self.ledger.gone(name, self.now)
        self.dead = []

    @rule(place=places, name=names)
    def use_and_die(self, place: int, name: str) -> None:
        """Take what there is, and be found dead, while others want it."""
        for _ in range(3):
            self.arrive(place, name, 60)
            self.talk()
        self.kill_plane(place)
        self.find_dead()
        for _ in range(5):
            self.arrive((place + 1) % PLANES, name, 60)
            self.talk()

    @rule()
    def kill_control_plane(self) -> None:
        self.ledger = None

    @rule()
    def start_control_plane(self) -> None:
        self.epoch += 1
        alive = [plane.identity for plane in self.planes]
        haunted = haunted_until(alive, PLANES, self.now, self.now) if self.epoch > 1 else self.now
        self.ledger = Ledger(self.epoch, [plane.id for plane in alive], self.now, haunted, self.at_once)
        self.ledger.use(self.limits, PLANES, LONGEST)

    # --- what holds ------------------------------------------------------------------------------------

    @invariant()
    def never_more_than_the_limit(self) -> None:
        for name in NAMES:
            most = [plane.most(name, self.now) for plane in self.planes]
            left = sum(self.now - taken < WINDOW for taken in self.left[name])
            assert sum(most) + left <= self.amount, (name, most, left)

    def teardown(self) -> None:
        if not hasattr(self, "planes"):
            return
        self.find_dead()
        self.kill_control_plane()
        self.start_control_plane()
        self.rest()
        used = []
        for plane in self.planes:
            plane.admitted.clear()
        for _ in range(round(3.0 / STEP)):
            self.lose_all()
            for plane in self.planes:
                for quota in plane.quotas.values():
                    quota.waiting = 1000
                    if self.kind == "slots":
                        quota.end(sum(self.now - began >= 0.2 for began in quota.begun))
                plane.admit(self.now)
            self.talk()
            self.pass_time(STEP)
            self.never_more_than_the_limit()
            used.append([sum(plane.quotas[name].in_use for plane in self.planes) for name in NAMES])
        if self.kind == "slots" or self.amount >= PLANES:
            assert all(plane.admitted[name] for plane in self.planes for name in NAMES), "a plane starves"
        if self.amount >= PLANES:
            # Now and then one is on its way from plane to plane.
            for of_name in zip(*used[-20:], strict=True):
                assert sum(of_name) >= 20 * 0.8 * self.amount, "some lie idle"


TestLeases = Leases.TestCase
TestLeases.settings = settings(
    max_examples=20,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class LongLeases(Leases):
    """The same, many more and longer."""


TestLongLeases = pytest.mark.slow(pytest.mark.timeout(900)(LongLeases.TestCase))
TestLongLeases.settings = settings(TestLeases.settings, max_examples=1500, stateful_step_count=60)
