"""How a plane follows the control plane's table: a state machine without sockets and clocks.

The model
=========
A plane holds a *replica* of the publisher's table and a *served* table. They are the same, but for two cases:
a table from disk is served before any replica exists, and a table that this plane refuses (it can not serve
it) becomes the replica and is not served. Updates apply to the replica, so a refused table needs no resync:
the next update is judged on its own, and the refused stamp is never asked for again.

The machine is in one of three states:

    waiting-for-welcome --> requesting-snapshot <--> live

- *waiting-for-welcome*: the subscription is not proven. A snapshot asked for now could miss the update that
  is published between the answer and the subscription. The welcome proves it; so does any other frame. (To
  be exact, libzmq sends the welcome just before it reads the new connection's subscriptions. An update that
  slips through there shows in the next heartbeat's stamp.)
- *requesting-snapshot*: something is missing. Updates are buffered. Requests go out with jitter, so that N
  planes which missed the same frame do not ask at once, and with back-off while they are not answered.
- *live*: each update extends the replica by one version; every frame's stamp says whether we still have all.

`stale` lies over these states: nothing was heard for `STALE_AFTER`. It changes no transition. A live machine
that is stale asks for nothing and wants no tick: whatever comes back comes with a welcome or with a stamp.

Which life to believe
=====================
An epoch is one life of the control plane, and epochs rise. So frames of an epoch below the replica's come from
a dead control plane: they are dropped and are no sign of life either. But the number is kept on a disk that
can be lost, and then a living control plane counts from below. What decides is causality, not the number: a
request sent *now* is answered by a control plane that lives now or later, so its answer is never of an
earlier life than what we heard before. Hence:

- An answer to a request of the present *wait* is believed whatever its epoch. A wait begins when we fall
  behind and with each welcome. Any of its requests will do, not only the newest: on a machine so busy that
  every answer comes after its time-out, the newest would never be answered.
- An answer to a request of an earlier wait, or a doubled one, may come from a control plane that has died. It is
  used when it is a newer table of the replica's own life (why serve the older one?), but does not end the wait.
- Within one epoch nothing ever goes back.

When back-off ends
==================
Not with an answer, but when the wire confirms it: a frame with the replica's stamp, also one that was heard while
the answer was awaited, or the next update. A publisher whose snapshots and frames disagree is thus asked about once
a second, not as fast as it answers.
"""

from __future__ import annotations

from enum import Enum

from shared.table import Stamp


class State(Enum):
    """Where the machine stands; see the model above."""

    WAITING_FOR_WELCOME = "waiting-for-welcome"
    REQUESTING_SNAPSHOT = "requesting-snapshot"
    LIVE = "live"


class Event(Enum):
    """What moves the machine from state to state."""

    WELCOME = "welcome"  # a connection to a publisher is new: of its table we know nothing
    BEHIND = "behind"  # the publisher has what the replica lacks
    LEVEL = "level"  # the replica has all that we heard of


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.WAITING_FOR_WELCOME: {
        Event.WELCOME: State.REQUESTING_SNAPSHOT,
        Event.BEHIND: State.REQUESTING_SNAPSHOT,
    },
    State.REQUESTING_SNAPSHOT: {
        Event.WELCOME: State.REQUESTING_SNAPSHOT,
        Event.BEHIND: State.REQUESTING_SNAPSHOT,
        Event.LEVEL: State.LIVE,
    },
    State.LIVE: {
        Event.WELCOME: State.REQUESTING_SNAPSHOT,
        Event.BEHIND: State.REQUESTING_SNAPSHOT,
    },
}


class Standing(Enum):
    """How a frame's stamp stands to the replica's."""

    PAST_LIFE = "past-life"  # of an earlier epoch
    LATE = "late"  # of an earlier version
    SAME = "same"
    AHEAD = "ahead"  # of a later epoch or version, or of this version with another hash


def standing(stamp: Stamp, held: Stamp | None) -> Standing:
    """Compare a frame's stamp with that of the replica (None: there is no replica, so everything is missing)."""
    if held is None or stamp.order > held.order:
        return Standing.AHEAD
    if stamp.epoch < held.epoch:
        return Standing.PAST_LIFE
    if stamp.version < held.version:
        return Standing.LATE
    return Standing.SAME if stamp.hash == held.hash else Standing.AHEAD
