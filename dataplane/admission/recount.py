"""Requests that are open when limits change: they count from then on for all that they would need if they came now.

So a limit that is set while they are open holds at once: no other one goes on before enough of them have ended. What
is counted by the minute was taken when they came, and of a new one nothing was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from dataplane.admission.estimate import NOTHING
from dataplane.admission.gate import Gate
from dataplane.admission.key_limits import KeyLimits, Use
from dataplane.admission.line import LaneKey
from dataplane.admission.quota import Shared, Slots
from dataplane.admission.ticket import State, Ticket
from dataplane.admission.wishes import CLASS, rank_of
from shared.errors import RouterError

if TYPE_CHECKING:
    from dataplane.request import Request


def count_open(
    requests: Iterable[Request], gate: Gate, models: Collection[str], now: float
) -> list[tuple[Ticket, Request]]:
    """Count open requests for the limits that a gate has by now, where `models` are known.

    Returns those that have a ticket from now on.
    """
    found = []
    for request in requests:
        ticket = request.ticket
        if ticket is None:
            if not (gate.quotas and request.is_at_work):
                continue
            ticket = request.ticket = _ticket_of(request)
            found.append((ticket, request))
        holder, model = request.client.key, request.model if request.model in models else None
        own = gate.own.get(holder.name) if holder is not None else None
        recount(ticket, model, gate.quotas_of(model), own, now)
    return found


def _ticket_of(request: Request) -> Ticket:
    # It went on while there was no limit, and counts for nothing yet.
    holder, fields = request.client.key, request.client.fields
    rank, tenant = (0, "") if holder is None else holder.share
    if CLASS in fields:
        # One that asked for a class which it can not have was not refused for it.
        with suppress(RouterError):
            rank = rank_of(fields[CLASS], holder)
    ticket = Ticket(LaneKey(rank, tenant, None), len(request.body), request.arrived)
    ticket.state = State.ADMITTED
    return ticket


def recount(ticket: Ticket, model: str | None, quotas: tuple[Shared, ...], own: KeyLimits | None, now: float) -> None:
    """Count an open request for the limits that there are by now: `quotas` for its model, and its key's `own`."""
    if ticket.state is State.ADMITTED:
        share = ticket.key.share
        for quota in quotas:
            if isinstance(quota, Slots) and quota not in ticket.quotas:
                quota.take(share, now)
        for quota in ticket.quotas:
            if quota not in quotas:
                quota.give_back(share)
        ticket.key, ticket.quotas = ticket.key._replace(model=model), quotas
    slots, use = (own.open if own is not None else None), ticket.use
    if own is not None and slots is not None and use is None:
        use = ticket.use = Use(KeyLimits(own.name, None, None, None, own), NOTHING)
        use.is_taken = True
    # One that waits for a lease of its key's has nothing of them yet.
    if use is not None and use.is_taken and use.slots is not slots:
        use.hold(slots, now)
