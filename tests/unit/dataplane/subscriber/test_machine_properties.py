"""Histories that a bad network and a restarting control plane can produce, and what must hold in each.

Frames, requests and answers are lost, doubled, delayed and reordered, also across lives of the publisher, and
their content may be damaged. One thing holds as in reality: a request is answered by the publisher that
lives when it arrives.
"""

from __future__ import annotations

from random import Random

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from controlplane.publication import Publication
from dataplane.subscriber.actions import Action, Adopt, RequestSnapshot, SendAck, SendNack
from dataplane.subscriber.machine import BUFFER_LIMIT, Subscriber
from dataplane.subscriber.states import State
from shared.messages import HEARTBEAT_INTERVAL, STALE_AFTER, Downward, Snapshot, TableUpdate
from shared.table import (
    ModelCard,
    RoutingTable,
    Settings,
    Stamp,
    TableChange,
    Worker,
    WorkerState,
    content_hash,
    make_table,
)

PLANES = 2
STEP = 0.05
# A request under way times out (0.5 s), the next one waits its back-off (1 s), and its answer may lead to one
# more round (1 s), after the first heartbeat (0.25 s).
ROUNDS_TO_CONVERGE = round((0.5 + 1.0 + 1.0 + HEARTBEAT_INTERVAL) / STEP) + 5

plane_numbers = st.integers(0, PLANES - 1)
positions = st.integers(0, 20)
states = st.sampled_from(("starting", "ready", "unhealthy"))
contents = st.dictionaries(st.sampled_from("abcd"), states)
served = st.lists(st.sampled_from("xyz"), unique=True)
policies = st.sampled_from(("round_robin", "round_robin", "random"))


def refuse_random(table: RoutingTable) -> str | None:
    return "no such policy" if table.settings.policy == "random" else None


def damaged(message: Downward) -> Downward:
    """Return the message with other content, or another hash where it has none. Its id and version are whole."""
    intruder = Worker(id="x", url="http://x")
    if isinstance(message, TableUpdate):
        return TableUpdate(message.stamp, TableChange(upsert_workers=(intruder,)))
    if isinstance(message, Snapshot):
        return msgspec.structs.replace(message, workers=(*message.workers, intruder))
    return msgspec.structs.replace(message, stamp=msgspec.structs.replace(message.stamp, hash=1))


class Plane:
    """A machine, what is on its way to it and from it, and what it did."""

    def __init__(self, number: int, last_known_good: RoutingTable | None) -> None:
        self.refuse = refuse_random if number == 0 else None
        self.machine = Subscriber(rng=Random(number), last_known_good=last_known_good, refuse=self.refuse)
        self.down: list[Downward] = []
        self.up: list[int] = []
        self.adopted: list[RoutingTable] = []
        self.refused: Stamp | None = None

    def perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case RequestSnapshot(request_id):
                    self.up.append(request_id)
                case Adopt(table):
                    self.adopted.append(table)
                    self.refused = None
                    assert self.machine.table == table
                case SendAck(stamp):
                    assert self.machine.table is not None
                    assert self.machine.table.stamp == stamp
                case SendNack(stamp, _):
                    self.refused = stamp


class History(RuleBasedStateMachine):
    """Epochs rise from life to life."""

    @initialize(disk=st.booleans())
    def start(self, disk: bool) -> None:
        self.now = 1000.0
        self.epoch = 0
        self.lives: dict[int, int] = {}
        self.published: dict[Stamp, RoutingTable] = {}
        # Of an epoch that is never used: a table that no publisher of this history knows.
        table = make_table(epoch=500, version=3) if disk else None
        self.planes = [Plane(number, table) for number in range(PLANES)]
        self.start_life(1)

    def start_life(self, epoch: int) -> None:
        self.epoch = epoch
        self.lives[epoch] = len(self.lives)
        self.publication = Publication(epoch, Settings())
        self.note()

    def note(self) -> None:
        table = self.publication.table
        self.published[table.stamp] = table

    def publish(self, message: Downward) -> None:
        for plane in self.planes:
            plane.down.append(message)

    def deliver(self, plane: Plane, position: int) -> None:
        plane.perform(plane.machine.on_message(plane.down.pop(position % len(plane.down)), self.now))

    def answer(self, plane: Plane, position: int) -> None:
        plane.down.append(self.publication.snapshot(plane.up.pop(position % len(plane.up))))

    # --- the publisher -------------------------------------------------------------------------------------

    @rule(workers=contents, models=served, policy=policies)
    def change(self, workers: dict[str, WorkerState], models: list[str], policy: str) -> None:
        records = [Worker(id=key, url=f"http://{key}", state=state) for key, state in workers.items()]
        cards = [ModelCard(id=model, card=b"{}") for model in models]
        update = self.publication.change(records, cards, Settings(policy=policy))
        if update is not None:
            self.note()
            self.publish(update)

    @rule(load=st.booleans())
    def heartbeat_or_load(self, load: bool) -> None:
        self.publish(self.publication.load({}) if load else self.publication.heartbeat())

    @rule(welcomed=st.sets(plane_numbers))
    def restart(self, welcomed: set[int]) -> None:
        self.start_life(max(self.lives) + 1)
        for plane in welcomed:
            self.welcome(plane)

    @rule(plane=plane_numbers)
    def welcome(self, plane: int) -> None:
        self.planes[plane].perform(self.planes[plane].machine.on_welcome(self.now))

    # --- the network ---------------------------------------------------------------------------------------
    # Where nothing is under way, nothing happens: preconditions would cost more than idle steps.

    @rule(plane=plane_numbers, position=positions)
    def arrives(self, plane: int, position: int) -> None:
        if self.planes[plane].down:
            self.deliver(self.planes[plane], position)

    @rule(plane=plane_numbers, newest=st.booleans())
    def an_answer_arrives(self, plane: int, newest: bool) -> None:
        frames = self.planes[plane].down
        if answers := [index for index, frame in enumerate(frames) if isinstance(frame, Snapshot)]:
            self.deliver(self.planes[plane], answers[-1 if newest else 0])

    @rule(plane=plane_numbers, position=positions, fate=st.sampled_from(("lost", "doubled", "damaged", "gibberish")))
    def goes_wrong(self, plane: int, position: int, fate: str) -> None:
        frames = self.planes[plane].down
        if not frames:
            return
        frame = frames.pop(position % len(frames))
        if fate == "doubled":
            frames += (frame, frame)
        elif fate == "damaged":
            frames.append(damaged(frame))
        elif fate == "gibberish":
            self.planes[plane].perform(self.planes[plane].machine.on_malformed(self.now))

    @rule(plane=plane_numbers, position=positions)
    def is_answered(self, plane: int, position: int) -> None:
        if self.planes[plane].up:
            self.answer(self.planes[plane], position)

    @rule(plane=plane_numbers, position=positions, doubled=st.booleans())
    def request_goes_wrong(self, plane: int, position: int, doubled: bool) -> None:
        if requests := self.planes[plane].up:
            request = requests.pop(position % len(requests))
            if doubled:
                requests += (request, request)

    @rule(plane=plane_numbers)
    def a_quiet_moment(self, plane: int) -> None:
        """All that is under way arrives in its order; long histories would else seldom be live."""
        self.settle(self.planes[plane])

    # --- time ----------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((0.01, 0.06, 0.3, 0.6, STALE_AFTER, 3.0)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for plane in self.planes:
            plane.perform(plane.machine.on_tick(self.now))

    # --- what must hold ------------------------------------------------------------------------------------

    @invariant()
    def only_published_tables_are_adopted_and_never_backwards(self) -> None:
        for plane in self.planes:
            for table in plane.adopted:
                assert content_hash(table.workers, table.models, table.settings) == table.stamp.hash
                published = self.published[table.stamp]
                assert table == published
                # Policies take workers in turn: with another order planes would not agree whose turn it is.
                assert [*table.workers] == [*published.workers]
                assert [*table.models] == [*published.models]
                assert plane.refuse is None or plane.refuse(table) is None
            ages = [(self.lives[table.stamp.epoch], table.stamp.version) for table in plane.adopted]
            assert ages == sorted(set(ages))
            del plane.adopted[:-1]

    @invariant()
    def the_buffer_is_bounded(self) -> None:
        assert all(len(plane.machine._buffer) <= BUFFER_LIMIT for plane in self.planes)

    @rule(before=st.sampled_from((False, False, True)), after=st.sampled_from((True, True, False)))
    def the_network_heals(self, before: bool, after: bool) -> None:
        """For a while nothing is lost. What was under way still arrives before, or may arrive after, or is lost."""
        held_back = []
        for plane in self.planes:
            if before:
                self.settle(plane)
            held_back.append((plane.down, plane.up))
            plane.down, plane.up = [], []
        self.reconnect()
        for number in range(ROUNDS_TO_CONVERGE):
            if number % round(HEARTBEAT_INTERVAL / STEP) == 0:
                self.publish(self.publication.heartbeat())
            self.now += STEP
            for plane in self.planes:
                plane.perform(plane.machine.on_tick(self.now))
                self.settle(plane)
        for plane in self.planes:
            self.check_converged(plane)
        if after:
            for plane, (down, up) in zip(self.planes, held_back, strict=True):
                plane.down, plane.up = down, up

    def settle(self, plane: Plane) -> None:
        while plane.down or plane.up:
            while plane.down:
                self.deliver(plane, 0)
            while plane.up:
                self.answer(plane, 0)

    def reconnect(self) -> None:
        """Rising epochs need no new connection to be followed."""

    def check_converged(self, plane: Plane) -> None:
        table = self.publication.table
        assert plane.machine.state is State.LIVE
        assert not plane.machine.stale
        if plane.refuse is not None and plane.refuse(table) is not None:
            assert plane.refused == table.stamp
        else:
            assert plane.machine.table == table

    def teardown(self) -> None:
        if hasattr(self, "planes"):
            self.the_network_heals(before=False, after=False)


class HistoryWithLostDisk(History):
    """A life may also start below those before it; then the plane learns of it by the welcome of its connection."""

    @rule(welcomed=st.sets(plane_numbers))
    def restart_with_lost_disk(self, welcomed: set[int]) -> None:
        self.start_life(min(self.lives) - 1)
        for plane in welcomed:
            self.welcome(plane)

    def reconnect(self) -> None:
        for plane in self.planes:
            plane.perform(plane.machine.on_welcome(self.now))


BUDGET = settings(max_examples=200, stateful_step_count=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

TestHistory = History.TestCase
TestHistory.settings = BUDGET
TestHistoryWithLostDisk = HistoryWithLostDisk.TestCase
TestHistoryWithLostDisk.settings = BUDGET
