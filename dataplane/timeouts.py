"""How long a request may stand still in each phase, and how that is noticed.

Nothing is timed per chunk. About once a second each open request is asked where it is; a place that has not
changed for longer than its phase allows is overdue. So a limit is kept to within a second or two, and costs a
stream nothing while it flows.

    phase       what must move on                      limit                             side
    ----------  -------------------------------------  --------------------------------  ------
    receiving   bytes of the request's body            --client-body-timeout-secs        client
    prefilling  the answer of a prefill worker         --prefill-timeout-secs            worker
    fetching    the first part, due, of an answer by   --decode-first-byte-timeout-secs  worker
                a decode worker that took over
    waiting     the first part of the worker's answer  --response-header-timeout-secs    worker
    answering   parts of the worker's answer           --stream-idle-timeout-secs        worker
    blocked     room for the next part at the client   --client-write-timeout-secs       client

Waiting in the queue and connecting have limits of their own (`Admission`, `Pool.connect`), and the whole request has
`--request-timeout-secs`.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from shared.errors import RouterError, worker_stalled
from shared.table import Settings


class Phase(Enum):
    """Where a request is."""

    RECEIVING = "receiving"
    QUEUED = "queued"
    """It waits for its turn (`dataplane.admission`), which has a time limit of its own."""
    CONNECTING = "connecting"
    """Or in the pause before another attempt."""
    PREFILLING = "prefilling"
    """A prefill worker computes the prompt (`dataplane.pd`), from the choice of it to its whole answer."""
    FETCHING = "fetching"
    """A decode worker was asked to take over from a prefill worker."""
    WAITING = "waiting"
    ANSWERING = "answering"
    BLOCKED = "blocked"


class Place(NamedTuple):
    """A phase and how far the request has come in it (bytes, or parts)."""

    phase: Phase
    mark: int


class Progress:
    """The last place in which a request was seen, and since when it is there (seconds)."""

    __slots__ = ("place", "since")

    def __init__(self, now: float) -> None:
        self.place = Place(Phase.RECEIVING, 0)
        self.since = now

    def overdue(self, place: Place, now: float, settings: Settings) -> Phase | None:
        """Note where the request is; return the phase when it has stood there for too long."""
        if place != self.place:
            self.place = place
            self.since = now
            return None
        limit = limit_of(place.phase, settings)
        return place.phase if 0 < limit < now - self.since else None


def limit_of(phase: Phase, settings: Settings) -> float:
    """Return the limit in seconds; 0 for none."""
    match phase:
        case Phase.RECEIVING:
            return settings.client_body_timeout
        case Phase.PREFILLING:
            return settings.prefill_timeout
        case Phase.FETCHING:
            return settings.decode_first_byte_timeout
        case Phase.WAITING:
            return settings.response_header_timeout
        case Phase.ANSWERING:
            return settings.stream_idle_timeout
        case Phase.BLOCKED:
            return settings.client_write_timeout
        case Phase.QUEUED | Phase.CONNECTING:
            return 0.0


_STALLS: dict[Phase, tuple[str, str]] = {
    Phase.PREFILLING: ("to the prompt did not come", "--prefill-timeout-secs"),
    Phase.FETCHING: ("did not begin", "--decode-first-byte-timeout-secs"),
    Phase.WAITING: ("did not begin", "--response-header-timeout-secs"),
    Phase.ANSWERING: ("stood still", "--stream-idle-timeout-secs"),
}


def stall_of(phase: Phase, settings: Settings) -> RouterError:
    """Return the error of a worker that stood still in a phase for too long."""
    what, flag = _STALLS[phase]
    return worker_stalled(what, limit_of(phase, settings), flag)
