"""Each rule of `dataplane/subscriber/machine.py` by an example. Times are seconds of an imagined clock."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from controlplane.publication import Publication
from dataplane.subscriber.actions import (
    Action,
    Adopt,
    BecameFresh,
    BecameStale,
    RequestSnapshot,
    SendAck,
    SendNack,
)
from dataplane.subscriber.machine import BACKOFF_LIMIT, BUFFER_LIMIT, JITTER, REQUEST_TIMEOUT, Subscriber
from dataplane.subscriber.states import TRANSITIONS, Event, State
from shared.messages import (
    STALE_AFTER,
    ControlStatus,
    Downward,
    Heartbeat,
    LoadReport,
    PlaneInflight,
    Snapshot,
    TableUpdate,
)
from shared.table import RoutingTable, Settings, Stamp, TableChange, Worker, make_table


class Rig:
    """A publication and one machine at an imagined clock; the test is the wire."""

    def __init__(
        self,
        *,
        epoch: int = 1,
        last_known_good: RoutingTable | None = None,
        refuse: Callable[[RoutingTable], str | None] | None = None,
    ) -> None:
        self.now = 100.0
        self.publication = Publication(epoch, Settings())
        self.machine = Subscriber(rng=Random(7), last_known_good=last_known_good, refuse=refuse)
        self._changes = 0

    def change(self, policy: str = "round_robin") -> TableUpdate:
        """Publish one more worker; the update is returned, not delivered."""
        self._changes += 1
        url = f"http://worker-{self._changes}:8000"
        update = self.publication.change(
            [*self.publication.table.workers.values(), Worker(id=url, url=url)], [], Settings(policy=policy)
        )
        assert update is not None
        return update

    def restart(self, epoch: int) -> None:
        self.publication = Publication(epoch, Settings())
        self.change()

    def hear(self, message: Downward) -> list[Action]:
        return self.machine.on_message(message, self.now)

    def beat(self) -> list[Action]:
        return self.hear(self.publication.heartbeat())

    def answer(self, request_id: int) -> list[Action]:
        return self.hear(self.publication.snapshot(request_id))

    def welcome(self) -> list[Action]:
        return self.machine.on_welcome(self.now)

    def tick(self) -> list[Action]:
        """Let time pass until the machine wants its tick."""
        delay = self.machine.next_tick(self.now)
        assert delay is not None
        self.now += delay + 1e-6
        return self.machine.on_tick(self.now)

    def request(self) -> int:
        """Tick until a snapshot is requested; heartbeats are not needed for that."""
        for _ in range(10):
            for action in self.tick():
                if isinstance(action, RequestSnapshot):
                    return action.request_id
        raise AssertionError("no snapshot was requested")

    def live(self) -> Rig:
        """Bring the machine to the live state."""
        self.welcome()
        self.answer(1)
        assert self.state() is State.LIVE
        self.beat()
        return self

    # Methods, as mypy takes an attribute that was compared once for settled.
    def state(self) -> State:
        return self.machine.state

    def stale(self) -> bool:
        return self.machine.stale

    def level(self) -> bool:
        return self.machine.table == self.publication.table


def adopted(actions: list[Action]) -> list[tuple[int, int]]:
    return [action.table.stamp.order for action in actions if isinstance(action, Adopt)]


# --- start -------------------------------------------------------------------------------------------------


def test_a_plane_without_a_table_asks_at_the_welcome_and_serves_from_the_answer() -> None:
    rig = Rig()
    rig.change()
    assert rig.state() is State.WAITING_FOR_WELCOME
    assert rig.machine.next_tick(rig.now) is None
    assert rig.welcome() == [BecameFresh(), RequestSnapshot(1)]
    table = rig.publication.table
    assert rig.answer(1) == [Adopt(table), SendAck(table.stamp)]
    assert rig.state() is State.LIVE
    assert rig.machine.table == table
    assert rig.machine.resyncs == 0


def test_any_frame_proves_the_subscription_as_the_welcome_does() -> None:
    assert Rig().beat() == [BecameFresh(), RequestSnapshot(1)]


def test_a_snapshot_nobody_asked_for_is_dropped() -> None:
    rig = Rig()
    assert rig.answer(1) == []
    assert rig.welcome() == [BecameFresh(), RequestSnapshot(1)]
    assert rig.answer(2) == []
    assert rig.machine.table is None


def test_every_transition_in_the_table_leads_to_a_state_that_has_a_row() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {target for row in TRANSITIONS.values() for target in row.values()} <= set(State)
    assert all(Event.WELCOME in row and Event.BEHIND in row for row in TRANSITIONS.values())


# --- the table on disk -------------------------------------------------------------------------------------


def test_the_table_from_disk_is_served_and_stale_until_the_control_plane_is_heard() -> None:
    disk = make_table(epoch=3, version=9)
    rig = Rig(epoch=4, last_known_good=disk)
    assert rig.machine.table is disk
    assert rig.stale()
    assert rig.machine.confirmed is None
    assert rig.welcome() == [BecameFresh()]
    assert rig.machine.table is disk
    assert adopted(rig.answer(rig.request())) == [(4, 1)]
    assert rig.level()


def test_the_live_socket_wins_over_the_disk_even_with_a_lower_epoch() -> None:
    rig = Rig(epoch=1, last_known_good=make_table(epoch=50, version=9))
    assert rig.beat() == [BecameFresh()]
    assert adopted(rig.answer(rig.request())) == [(1, 1)]
    assert adopted(rig.hear(rig.change())) == [(1, 2)]


def test_a_refused_table_from_disk_is_not_served() -> None:
    rig = Rig(last_known_good=make_table(epoch=1, version=1), refuse=lambda table: "no")
    assert rig.machine.table is None


# --- updates -----------------------------------------------------------------------------------------------


def test_the_next_update_is_applied() -> None:
    rig = Rig().live()
    update = rig.change()
    table = rig.publication.table
    assert rig.hear(update) == [Adopt(table), SendAck(table.stamp)]
    assert rig.machine.confirmed == rig.now


def test_a_doubled_or_late_update_is_dropped() -> None:
    rig = Rig().live()
    first, second = rig.change(), rig.change()
    rig.hear(first)
    assert rig.hear(first) == []
    rig.hear(second)
    assert rig.hear(first) == []
    assert rig.state() is State.LIVE
    assert rig.level()


def test_an_update_whose_result_has_another_hash_than_its_stamp_is_not_adopted() -> None:
    rig = Rig().live()
    before = rig.machine.table
    update = rig.change()
    wrong = TableUpdate(Stamp(1, update.stamp.version, update.stamp.hash ^ 1), update.change)
    assert rig.hear(wrong) == []
    assert rig.machine.table is before
    assert rig.machine.resyncs == 1
    assert adopted(rig.answer(rig.request())) == [(1, 2)]


def test_an_update_that_removes_what_we_have_not_means_resync() -> None:
    rig = Rig().live()
    update = TableUpdate(Stamp(1, 2, 0), TableChange(remove_workers=("http://nobody",)))
    assert rig.hear(update) == []
    assert rig.state() is State.REQUESTING_SNAPSHOT


# --- what means resync -------------------------------------------------------------------------------------


def test_a_gap_means_resync_within_the_jitter() -> None:
    rig = Rig().live()
    rig.change()
    assert rig.hear(rig.change()) == []
    assert rig.state() is State.REQUESTING_SNAPSHOT
    delay = rig.machine.next_tick(rig.now)
    assert delay is not None
    assert 0 <= delay <= JITTER
    rig.answer(rig.request())
    assert rig.level()
    assert rig.state() is State.LIVE
    assert rig.machine.resyncs == 1


def test_planes_that_missed_the_same_frame_do_not_ask_at_once() -> None:
    publication = Publication(1, Settings())
    delays = set()
    for seed in range(20):
        machine = Subscriber(rng=Random(seed), last_known_good=make_table(epoch=1, version=1))
        machine.on_message(publication.heartbeat(), 5.0)
        delays.add(machine.next_tick(5.0))
    assert len(delays) == 20


STAMPED: list[Callable[[Stamp], Downward]] = [
    Heartbeat,
    lambda stamp: LoadReport(stamp, 1, {}),
    lambda stamp: PlaneInflight(stamp, "other", 1, {}, {}),
    lambda stamp: ControlStatus(
        pid=1, version="1", stamp=stamp, workers=0, ready_workers=0, refused="", ports_settled=True
    ),
]


@pytest.mark.parametrize("frame", STAMPED)
@pytest.mark.parametrize("stamp", [Stamp(1, 2, 0), Stamp(2, 1, 0), Stamp(1, 1, 0)], ids=["version", "epoch", "hash"])
def test_any_stamp_that_is_ahead_means_resync(frame: Callable[[Stamp], Downward], stamp: Stamp) -> None:
    rig = Rig().live()
    assert rig.hear(frame(stamp)) == []
    assert rig.state() is State.REQUESTING_SNAPSHOT
    assert rig.machine.resyncs == 1


@pytest.mark.parametrize("frame", STAMPED)
def test_a_stamp_that_is_ours_or_earlier_changes_nothing(frame: Callable[[Stamp], Downward]) -> None:
    rig = Rig().live()
    early = rig.publication.table.stamp
    rig.hear(rig.change())
    rig.now += 0.5
    for stamp in (early, rig.publication.table.stamp):
        assert rig.hear(frame(stamp)) == []
    assert rig.state() is State.LIVE
    assert rig.machine.last_heard == rig.now
    assert rig.machine.confirmed == rig.now


def test_a_new_welcome_means_resync_and_the_unchanged_table_is_acknowledged_anew() -> None:
    rig = Rig().live()
    assert rig.welcome() == []
    assert rig.machine.resyncs == 1
    assert rig.answer(rig.request()) == [SendAck(rig.publication.table.stamp)]
    assert rig.state() is State.LIVE


# --- lives of the control plane ----------------------------------------------------------------------------


def test_a_later_life_is_followed() -> None:
    rig = Rig().live()
    rig.restart(epoch=2)
    rig.beat()
    assert adopted(rig.answer(rig.request())) == [(2, 2)]
    assert rig.level()


def test_frames_of_an_earlier_life_are_dropped_and_are_no_sign_of_life() -> None:
    rig = Rig(epoch=2).live()
    heard = rig.machine.last_heard
    rig.now += 0.5
    old = Publication(1, Settings())
    update = old.change([Worker(id="a", url="http://a")], [], Settings())
    assert update is not None
    assert rig.hear(old.heartbeat()) == []
    assert rig.hear(update) == []
    assert rig.state() is State.LIVE
    assert rig.machine.last_heard == heard
    assert rig.machine.is_of_past_life(update.stamp)


def test_a_control_plane_that_lost_its_disk_is_followed_although_its_epoch_is_lower() -> None:
    rig = Rig(epoch=7).live()
    rig.restart(epoch=1)
    assert rig.beat() == []
    assert rig.state() is State.LIVE
    rig.welcome()
    assert rig.beat() == []
    assert adopted(rig.answer(rig.request())) == [(1, 2)]
    assert rig.state() is State.LIVE
    assert adopted(rig.hear(rig.change())) == [(1, 3)]


@pytest.mark.parametrize("epochs", [(1, 2), (2, 1)], ids=["rising", "disk-lost"])
def test_an_answer_of_another_life_to_an_earlier_wait_is_dropped(epochs: tuple[int, int]) -> None:
    rig = Rig(epoch=epochs[0])
    rig.welcome()
    late = rig.publication.snapshot(1)
    rig.restart(epochs[1])
    rig.welcome()
    assert rig.hear(late) == []
    rig.answer(2)
    assert rig.level()
    assert rig.hear(late) == []
    rig.welcome()
    assert rig.hear(late) == []
    assert rig.level()


# --- waiting for a snapshot --------------------------------------------------------------------------------


def test_updates_are_buffered_and_those_that_the_snapshot_holds_dropped() -> None:
    rig = Rig()
    rig.welcome()
    assert rig.hear(rig.change()) == []
    snapshot = rig.publication.snapshot(1)
    third, fourth = rig.change(), rig.change()
    assert rig.hear(fourth) == []
    assert rig.hear(third) == []
    assert adopted(rig.hear(snapshot)) == [(1, 4)]
    assert rig.level()
    assert rig.state() is State.LIVE


def test_a_hole_in_the_buffer_means_another_request() -> None:
    rig = Rig()
    rig.welcome()
    snapshot = rig.publication.snapshot(1)
    rig.hear(rig.change())
    rig.change()
    rig.hear(rig.change())
    assert adopted(rig.hear(snapshot)) == [(1, 2)]
    assert rig.state() is State.REQUESTING_SNAPSHOT
    assert adopted(rig.answer(rig.request())) == [(1, 4)]
    assert rig.state() is State.LIVE


def test_a_full_buffer_is_dropped_and_the_gap_found() -> None:
    rig = Rig()
    rig.welcome()
    snapshot = rig.publication.snapshot(1)
    for _ in range(BUFFER_LIMIT + 1):
        rig.hear(rig.change())
    assert adopted(rig.hear(snapshot)) == [(1, 1)]
    assert rig.state() is State.REQUESTING_SNAPSHOT
    rig.answer(rig.request())
    assert rig.level()


def test_a_stamp_that_was_wrong_costs_one_more_request_only() -> None:
    rig = Rig().live()
    rig.hear(Heartbeat(Stamp(1, 99, 0)))
    rig.answer(rig.request())
    rig.answer(rig.request())
    assert rig.state() is State.LIVE


def test_a_snapshot_with_a_wrong_hash_is_refused_and_asked_for_again() -> None:
    rig = Rig()
    rig.welcome()
    good = rig.publication.snapshot(1)
    bad = Snapshot(1, Stamp(1, 1, good.stamp.hash ^ 1), good.workers, good.models, good.settings)
    assert rig.hear(bad) == []
    assert rig.machine.table is None
    assert rig.request() == 2
    rig.answer(2)
    assert rig.level()


def test_a_late_answer_that_is_older_than_our_table_is_dropped() -> None:
    rig = Rig()
    rig.welcome()
    late = rig.publication.snapshot(1)
    rig.answer(1)
    rig.hear(rig.change())
    assert rig.hear(late) == []
    rig.welcome()
    assert rig.hear(late) == []
    assert rig.level()
    assert rig.state() is State.REQUESTING_SNAPSHOT


def test_the_awaited_answer_ends_the_wait_even_when_an_earlier_one_was_newer() -> None:
    rig = Rig().live()
    rig.welcome()
    awaited = rig.request()
    older = rig.publication.snapshot(awaited)
    rig.change()
    assert adopted(rig.answer(1)) == [(1, 2)]
    assert rig.hear(older) == []
    assert rig.level()
    assert rig.state() is State.LIVE


def test_any_request_of_the_wait_may_be_answered_not_only_the_newest() -> None:
    rig = Rig()
    rig.welcome()
    assert rig.request() == 2
    assert adopted(rig.answer(1)) == [(1, 1)]
    assert rig.state() is State.LIVE
    assert rig.answer(2) == []


def test_a_late_answer_that_is_newer_is_used_but_does_not_end_a_later_wait() -> None:
    rig = Rig().live()
    rig.change()
    rig.welcome()
    assert adopted(rig.answer(1)) == [(1, 2)]
    assert rig.state() is State.REQUESTING_SNAPSHOT
    assert rig.answer(rig.request()) == [SendAck(rig.publication.table.stamp)]
    assert rig.state() is State.LIVE


# --- time --------------------------------------------------------------------------------------------------


def test_a_request_times_out_and_is_repeated_with_growing_pauses() -> None:
    rig = Rig()
    rig.welcome()
    pauses = []
    for _ in range(30):
        before = rig.now
        rig.request()
        pauses.append(rig.now - before - REQUEST_TIMEOUT)
    slack = 1e-4
    assert all(-slack <= pause <= BACKOFF_LIMIT + slack for pause in pauses)
    assert pauses[0] <= 2 * JITTER + slack
    assert max(pauses) > BACKOFF_LIMIT / 2


def test_back_off_ends_when_the_wire_confirms_the_table() -> None:
    rig = Rig().live()

    def contradict() -> float:
        """Say that the hash is another one; return the pause before the request, in seconds."""
        rig.hear(Heartbeat(Stamp(1, 1, 0)))
        before = rig.now
        pause = 0.0
        while rig.state() is not State.LIVE:
            rig.answer(rig.request())
            pause = max(pause, rig.now - before)
            before = rig.now
        return pause

    assert max(contradict() for _ in range(20)) > BACKOFF_LIMIT / 2
    rig.beat()
    rig.hear(Heartbeat(Stamp(1, 1, 0)))
    rig.now += JITTER
    assert isinstance(rig.machine.on_tick(rig.now)[-1], RequestSnapshot)


def test_g_cp_3_updates_that_are_lost_again_and_again_do_not_make_the_pauses_grow() -> None:
    rig = Rig().live()
    for _ in range(20):
        rig.change()
        rig.hear(rig.change())
        before = rig.now
        rig.answer(rig.request())
        assert rig.state() is State.LIVE
        assert rig.now - before <= JITTER


def test_a_request_that_could_not_leave_is_not_waited_for() -> None:
    rig = Rig()
    rig.welcome()
    rig.machine.on_unsent(1, rig.now)
    delay = rig.machine.next_tick(rig.now)
    assert delay is not None
    assert delay <= 2 * JITTER
    assert rig.request() == 2


def test_silence_makes_stale_and_any_frame_fresh() -> None:
    rig = Rig().live()
    rig.now += STALE_AFTER / 2
    assert rig.machine.on_tick(rig.now) == []
    assert not rig.stale()
    rig.now += STALE_AFTER / 2
    assert rig.machine.on_tick(rig.now) == [BecameStale()]
    assert rig.stale()
    assert rig.machine.table is not None
    assert rig.machine.next_tick(rig.now) is None
    assert rig.machine.on_tick(rig.now + 60) == []
    assert rig.beat() == [BecameFresh()]
    assert rig.state() is State.LIVE


def test_a_malformed_frame_is_counted_and_no_sign_of_life() -> None:
    rig = Rig().live()
    rig.now += STALE_AFTER
    assert rig.machine.on_malformed(rig.now) == []
    assert rig.machine.malformed == 1
    assert rig.machine.on_tick(rig.now) == [BecameStale()]


# --- refusing ----------------------------------------------------------------------------------------------


def unknown_policy(table: RoutingTable) -> str | None:
    return None if table.settings.policy != "new" else f"no policy {table.settings.policy}"


def test_a_refused_update_is_answered_by_a_nack_and_the_table_kept() -> None:
    rig = Rig(refuse=unknown_policy).live()
    before = rig.machine.table
    rig.now += 0.25
    update = rig.change(policy="new")
    assert rig.hear(update) == [SendNack(update.stamp, "no policy new")]
    assert rig.machine.table is before
    rig.now += 0.25
    assert rig.beat() == []
    assert rig.hear(update) == []
    assert rig.state() is State.LIVE
    assert rig.machine.confirmed == rig.now - 0.5


def test_the_update_after_a_refused_one_needs_no_snapshot() -> None:
    rig = Rig(refuse=unknown_policy).live()
    rig.hear(rig.change(policy="new"))
    rig.now += 0.25
    assert adopted(rig.hear(rig.change())) == [(1, 3)]
    assert rig.level()
    assert rig.machine.confirmed == rig.now
    assert rig.machine.resyncs == 0


def test_a_refused_snapshot_is_not_asked_for_again() -> None:
    rig = Rig(last_known_good=make_table(epoch=1, version=1), refuse=unknown_policy)
    rig.change(policy="new")
    rig.welcome()
    stamp = rig.publication.table.stamp
    assert rig.answer(rig.request()) == [SendNack(stamp, "no policy new")]
    assert rig.state() is State.LIVE
    assert rig.beat() == []
    assert rig.state() is State.LIVE
    rig.welcome()
    assert rig.answer(rig.request()) == [SendNack(stamp, "no policy new")]
    assert rig.machine.table is not None
