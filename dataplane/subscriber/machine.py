"""The subscriber's state machine: frames and time in, actions out, no socket and no clock.

Read `states.py` first: the model, the states and their transitions stand there.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from dataplane.subscriber.actions import (
    Action,
    Adopt,
    BecameFresh,
    BecameStale,
    RequestSnapshot,
    SendAck,
    SendNack,
)
from dataplane.subscriber.states import TRANSITIONS, Event, Standing, State, standing
from shared.messages import STALE_AFTER, Downward, Snapshot, TableUpdate
from shared.table import RoutingTable, Stamp, apply, make_table

JITTER = 0.05
"""Seconds over which planes spread their first request: 100 planes ask every 0.5 ms, and it delays none for long."""
BACKOFF_LIMIT = 1.0
"""Seconds: the widest window from which the wait before another request is drawn."""
REQUEST_TIMEOUT = 0.5
"""Seconds: a snapshot of 10,000 workers (1.1 MB) was seen to take 20 ms to encode, decode and check."""
BUFFER_LIMIT = 256
"""Updates kept while a snapshot is awaited: minutes of a busy fleet, and a snapshot that late is of no use."""


class Subscriber:
    """The machine. Times are seconds of one monotonic clock; each input returns what is to be done, in order."""

    def __init__(
        self,
        *,
        rng: Random,
        last_known_good: RoutingTable | None = None,
        refuse: Callable[[RoutingTable], str | None] | None = None,
    ) -> None:
        """Start, serving `last_known_good` unless refused.

        `refuse` returns why this plane can not serve a table, or None when it can.
        """
        self._rng = rng
        self._refuse = refuse or (lambda table: None)
        self._served = last_known_good
        if last_known_good is not None and self._refuse(last_known_good) is not None:
            self._served = None
        self._replica: RoutingTable | None = None
        self._refusal: str | None = None  # why the replica is not served

        self._state = State.WAITING_FOR_WELCOME
        self._stale = True
        self._last_heard: float | None = None
        self._confirmed: float | None = None
        self._resyncs = 0
        self._malformed = 0

        self._last_id = 0
        self._wait_from = 1  # the first request id of the present wait
        self._attempts = 0  # requests since the wire last confirmed the replica
        self._asked = False  # in a wait: whether `_due` is a request's time-out, or the time to send one
        self._due = 0.0
        self._goal: Stamp | None = None  # the newest stamp heard in a wait
        self._buffer: dict[tuple[int, int], TableUpdate] = {}

    @property
    def state(self) -> State:
        """Where the machine stands."""
        return self._state

    @property
    def table(self) -> RoutingTable | None:
        """The table to serve from; None until there is one that this plane does not refuse."""
        return self._served

    @property
    def stale(self) -> bool:
        """Whether the control plane is silent; true from the start until it is first heard."""
        return self._stale

    @property
    def last_heard(self) -> float | None:
        """When the control plane was last heard."""
        return self._last_heard

    @property
    def confirmed(self) -> float | None:
        """When the wire last said that the served table is the publisher's: `now - confirmed` is the table's age.

        None until it has said so, as for a table from disk.
        """
        return self._confirmed

    @property
    def resyncs(self) -> int:
        """How often a snapshot had to be asked for after the first one had come."""
        return self._resyncs

    @property
    def malformed(self) -> int:
        """Frames that were no messages."""
        return self._malformed

    def is_of_past_life(self, stamp: Stamp) -> bool:
        """Whether a frame of that stamp came from an earlier control plane than the one we follow."""
        return standing(stamp, self._held) is Standing.PAST_LIFE

    @property
    def epoch(self) -> int:
        """The life of the control plane that is followed; 0 before its first table."""
        return self._replica.stamp.epoch if self._replica is not None else 0

    def next_tick(self, now: float) -> float | None:
        """Return in how many seconds `on_tick` wants to be called; None when only a frame can change anything."""
        due = [self._due] if self._state is State.REQUESTING_SNAPSHOT else []
        if not self._stale and self._last_heard is not None:
            due.append(self._last_heard + STALE_AFTER)
        return max(0.0, min(due) - now) if due else None

    # --- inputs --------------------------------------------------------------------------------------------

    def on_welcome(self, now: float) -> list[Action]:
        """A publisher accepted our connection; it may be another one than before."""
        actions = self._hear(now)
        self._attempts = 0
        self._goal = None
        return actions + self._wait(Event.WELCOME, now)

    def on_message(self, message: Downward, now: float) -> list[Action]:
        """Take a frame. All carry a stamp; only updates and snapshots carry anything else that matters here."""
        if isinstance(message, Snapshot):
            return self._on_snapshot(message, now)
        stamp = message.stamp
        where = standing(stamp, self._held)
        if where is Standing.PAST_LIFE:
            return []
        actions = self._hear(now)
        if where is Standing.SAME:
            self._confirm(now)
        if where is not Standing.AHEAD:
            return actions
        if isinstance(message, TableUpdate):
            if self._state is State.LIVE and (table := self._extend(message)) is not None:
                actions += self._take(table)
                self._confirm(now)
                return actions
            self._keep(message)
        if self._goal is None or stamp.order >= self._goal.order:
            self._goal = stamp
        if self._state is not State.REQUESTING_SNAPSHOT:
            actions += self._wait(Event.BEHIND, now)
        return actions

    def on_malformed(self, now: float) -> list[Action]:
        """A frame was no message. If it mattered, the next stamp will say so; it is no sign of life."""
        self._malformed += 1
        return []

    def on_unsent(self, request_id: int, now: float) -> list[Action]:
        """A request found nobody connected: no need to wait for its answer."""
        if self._state is State.REQUESTING_SNAPSHOT and self._asked and request_id == self._last_id:
            self._ask_later(now)
        return []

    def on_tick(self, now: float) -> list[Action]:
        """Do what time has made due; calling it early or late is harmless."""
        actions: list[Action] = []
        if not self._stale and self._last_heard is not None and now >= self._last_heard + STALE_AFTER:
            self._stale = True
            actions.append(BecameStale())
        if self._state is State.REQUESTING_SNAPSHOT and now >= self._due:
            if self._asked:
                self._ask_later(now)
            else:
                actions += self._ask(now)
        return actions

    # --- snapshots -----------------------------------------------------------------------------------------

    def _on_snapshot(self, snapshot: Snapshot, now: float) -> list[Action]:
        if not 0 < snapshot.request_id <= self._last_id:
            return []
        held, stamp = self._held, snapshot.stamp
        awaited = self._state is State.REQUESTING_SNAPSHOT and snapshot.request_id >= self._wait_from
        newer = held is not None and stamp.epoch == held.epoch and stamp.version > held.version
        if not (awaited or newer):
            return []
        actions = self._hear(now)
        if standing(stamp, held) is not Standing.LATE:
            table = make_table(
                epoch=stamp.epoch,
                version=stamp.version,
                workers=snapshot.workers,
                models=snapshot.models,
                settings=snapshot.settings,
            )
            if table.stamp != stamp:
                if awaited and self._asked:
                    self._ask_later(now)
                return actions
            actions += self._take(self._catch_up(table))
        if awaited:
            actions += self._end_wait(now)
        return actions

    def _end_wait(self, now: float) -> list[Action]:
        """Go live, unless more was heard of this life than the answer and the buffer hold."""
        # Either way the goal is done with: the answer to a request sent after it was heard holds it, or it was wrong.
        goal, self._goal = self._goal, None
        if goal is not None and standing(goal, self._held) is Standing.AHEAD and self._is_of_this_life(goal):
            return self._wait(Event.BEHIND, now)
        if goal is not None and goal == self._held:
            self._attempts = 0
        self._state = TRANSITIONS[self._state][Event.LEVEL]
        self._buffer.clear()
        return []

    # --- waiting for a snapshot ----------------------------------------------------------------------------

    def _wait(self, event: Event, now: float) -> list[Action]:
        if self._state is State.LIVE:
            self._resyncs += 1
        self._state = TRANSITIONS[self._state][event]
        self._wait_from = self._last_id + 1
        if self._served is None and self._attempts == 0:
            # It can serve nobody, and planes start at different moments anyway.
            return self._ask(now)
        self._ask_later(now)
        return []

    def _ask_later(self, now: float) -> None:
        window = min(BACKOFF_LIMIT, JITTER * 2 ** min(self._attempts, 10))
        self._asked = False
        self._due = now + self._rng.uniform(0.0, window)

    def _ask(self, now: float) -> list[Action]:
        self._last_id += 1
        self._attempts += 1
        self._asked = True
        self._due = now + REQUEST_TIMEOUT
        return [RequestSnapshot(self._last_id)]

    # --- tables --------------------------------------------------------------------------------------------

    @property
    def _held(self) -> Stamp | None:
        return self._replica.stamp if self._replica is not None else None

    def _is_of_this_life(self, stamp: Stamp) -> bool:
        return self._replica is not None and stamp.epoch == self._replica.stamp.epoch

    def _keep(self, update: TableUpdate) -> None:
        if len(self._buffer) >= BUFFER_LIMIT:
            self._buffer.clear()
        self._buffer[update.stamp.order] = update

    def _extend(self, update: TableUpdate) -> RoutingTable | None:
        """Return the replica with the update applied; None when it does not follow or does not lead where it says."""
        return _applied(self._replica, update) if self._replica is not None else None

    def _catch_up(self, table: RoutingTable) -> RoutingTable:
        """Apply what was buffered and follows, in order; the rest is in the snapshot, or a gap that `_goal` shows."""
        for _, update in sorted(self._buffer.items()):
            table = _applied(table, update) or table
        return table

    def _take(self, table: RoutingTable) -> list[Action]:
        """Make `table` the replica, and serve it unless refused."""
        if table.stamp != self._held:
            self._replica = table
            self._refusal = self._refuse(table)
            if self._refusal is None:
                self._served = table
                return [Adopt(table), SendAck(table.stamp)]
        # An answer that changes nothing is answered again all the same: the one who asks may be new.
        if self._refusal is not None:
            return [SendNack(table.stamp, self._refusal)]
        return [SendAck(table.stamp)]

    # --- hearing -------------------------------------------------------------------------------------------

    def _hear(self, now: float) -> list[Action]:
        self._last_heard = now
        if not self._stale:
            return []
        self._stale = False
        return [BecameFresh()]

    def _confirm(self, now: float) -> None:
        if self._refusal is None:
            self._confirmed = now
        if self._state is State.LIVE:
            self._attempts = 0


def _applied(table: RoutingTable, update: TableUpdate) -> RoutingTable | None:
    if update.stamp.epoch != table.stamp.epoch or update.stamp.version != table.stamp.version + 1:
        return None
    try:
        after = apply(table, update.change)
    except KeyError:  # made for a table that has what ours has not
        return None
    return after if after.stamp == update.stamp else None
