"""A request that has gone on before and waits for a worker again: all that it could be sent to now are full."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from dataplane.admission.ticket import State, Ticket
from dataplane.admission.worker_slots import NOTHING
from shared.errors import RouterError

if TYPE_CHECKING:
    from dataplane.admission.admission import Admission


class Turn:
    """Ends in one of `go_on`, `refuse` and `cancel`. What it is promised then is the request's (`first`)."""

    __slots__ = ("_admission", "_first", "_go_on", "_handle", "_refuse", "ticket")

    def __init__(
        self,
        admission: Admission,
        ticket: Ticket,
        first: Ticket,
        go_on: Callable[[], None],
        refuse: Callable[[RouterError], None],
    ) -> None:
        """`first` is the ticket that the request came in with."""
        self._admission = admission
        self._first = first
        self._go_on = go_on
        self._refuse = refuse
        self._handle: asyncio.Handle | None = None
        self.ticket = ticket

    def admitted(self) -> None:
        """Go on, soon: others are let go on first, whose slots have become free at the same time."""
        ticket, first = self.ticket, self._first
        first.promised, ticket.promised = {**first.promised, **ticket.promised}, NOTHING
        self._note()
        self._handle = asyncio.get_running_loop().call_soon(self._go_on)

    def refuse(self, error: RouterError) -> None:
        """Give up."""
        self.cancel()
        self._refuse(error)

    def cancel(self) -> None:
        """Wait no more."""
        if self._handle is not None:
            self._handle.cancel()
        elif self.ticket.state is State.WAITING:
            self._note()
            self._admission.leave(self.ticket)

    def _note(self) -> None:
        # A receipt tells of the first time.
        ticket, first = self.ticket, self._first
        if first.position is None:
            first.position, first.expected, first.limit = ticket.position, ticket.expected, ticket.limit
            first.since, first.went = ticket.since, ticket.went
