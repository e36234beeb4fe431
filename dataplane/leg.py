"""What attempts are made for: a client's whole request, or one half of one that is disaggregated (`dataplane/pd`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from dataplane.accounting import AbortedBy
from dataplane.fleet_view import PoolName
from dataplane.retry import NOT_RUN_STATUSES
from dataplane.server import FutureLike
from shared.errors import RouterError
from shared.messages import EvidenceKind

if TYPE_CHECKING:
    from dataplane.slot import Slot


Message = tuple[bytes, bytes, bytes | bytearray]
"""A request as workers get it: its line, its fields and its body. The worker's authority goes behind the line.

A plain tuple: one is made for each request."""


class Taker(Protocol):
    """Whoever takes a worker's answer: the client, or the router itself. As `dataplane.client.Client`."""

    @property
    def method(self) -> str:
        """The request's method."""
        ...

    @property
    def started(self) -> bool:
        """Whether the answer has begun: after that nothing is sent again."""
        ...

    def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Begin the answer."""

    def send(self, data: bytes) -> FutureLike | None:
        """Take a part that others follow; returns what to wait for before the next one, if anything."""

    def finish(self, last: bytes = b"") -> None:
        """Take the last part, and know that it was the last."""

    def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Take a whole answer."""

    def unwatch(self) -> None:
        """Know that the last part comes."""


class Leg(Protocol):
    """Takes the end of its attempts."""

    @property
    def pool(self) -> PoolName:
        """Among which workers to choose."""
        ...

    @property
    def client(self) -> Taker:
        """Who takes the answer."""
        ...

    @property
    def not_run(self) -> frozenset[int]:
        """Statuses that say that what was sent was not run."""
        ...

    @property
    def may_be_run_twice(self) -> bool:
        """Whether it is sent again though a worker held it for a while before it closed without an answer."""
        ...

    @property
    def renews(self) -> bool:
        """Whether what was sent can not be sent again, and `renew` comes before the next choice."""
        ...

    def message(self, slot: Slot) -> Message:
        """Return what is sent to a worker that was chosen. Raises RouterError when there can be nothing."""
        ...

    def sent(self) -> None:
        """Know that it was sent."""

    def broke(self) -> None:
        """Know that an attempt has failed, and another follows."""

    def unsuited(self) -> Collection[Slot]:
        """Return workers that are left out of the choice, besides those that were tried."""
        ...

    def why_unsuited(self) -> Mapping[str, str]:
        """Return why, in words, by their ids; for a receipt."""
        ...

    def is_of_worker(self, kind: EvidenceKind, status: int) -> bool:
        """Whether a failure speaks against the worker. False: the leg has held it against something else."""
        ...

    def renew(self) -> None:
        """Make something new to send, then have the attempts go on."""

    def leave(self) -> bool:
        """Go somewhere else instead of waiting for workers that have all failed; whether that is possible."""
        ...

    def answered(self) -> None:
        """Know that the worker's whole answer was taken."""

    def refuse(self, error: RouterError) -> None:
        """Know that there is no answer."""

    def truncate(self, error: RouterError, by: AbortedBy) -> None:
        """Know that the answer broke off in its middle."""


class WholeRequest:
    """What attempts at all of a request have in common: whoever fails has failed alone, and may be followed by any."""

    __slots__ = ()

    pool: Final = "plain"
    renews: Final = False
    not_run: Final = NOT_RUN_STATUSES
    may_be_run_twice: Final = False

    def sent(self) -> None:
        """Do nothing: nobody else waits for it."""

    def broke(self) -> None:
        """Do nothing, likewise."""

    def unsuited(self) -> tuple[Slot, ...]:
        """Return nobody: any worker of the pool can do it."""
        return ()

    def why_unsuited(self) -> Mapping[str, str]:
        """Return nothing."""
        return {}

    def is_of_worker(self, kind: EvidenceKind, status: int) -> bool:
        """Whoever fails has failed alone."""
        return True

    def renew(self) -> None:
        """Do nothing: a request can be sent again as it is."""

    def leave(self) -> bool:
        """Return that there is nowhere else to go."""
        return False
