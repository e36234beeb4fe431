"""One choice of a worker for an attempt: a probe that is due, else the policy's pick among the candidates.

Where workers have limits, those that are full are no candidates, whatever the policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from dataplane.admission.ticket import Ticket
from dataplane.candidates import candidates_of, free_candidates
from dataplane.fleet_view import FleetView, PoolName
from dataplane.receipts import MAX_LISTED, Detail
from dataplane.slot import Slot

if TYPE_CHECKING:
    from dataplane.forward import Forwarder
    from dataplane.request import Request


Chosen = tuple[Slot, bool, int, Detail | None, str]
"""The worker; whether it is to be probed; the prompt tokens that it will compute; what is written down of the choice;
the name of the policy that chose, or would have. A plain tuple: one is made for each attempt."""


class AllAreFull(Exception):  # noqa: N818 - it is to be waited for
    """Whoever could take the request has as many as may be: all of a pool but those that were `left_out`."""

    def __init__(self, pool: PoolName, left_out: Sequence[Slot]) -> None:
        super().__init__("all workers are full")
        self.pool = pool
        self.left_out = left_out


def choice(forwarder: Forwarder, view: FleetView, request: Request, left_out: Sequence[Slot], now: float) -> Chosen:
    """Choose, not among those `left_out`; `now` is the loop's time in seconds.

    Raises RouterError when there is nobody, AllAreFull when there is nobody now.
    """
    ticket = request.ticket
    if ticket is None or ticket.among is None:
        chosen = probe(forwarder, view, request, left_out, now) if view.recovering else None
        if chosen is not None:
            return chosen
        candidates = candidates_of(forwarder.fleet, view, request, left_out, now)
        if not candidates:
            raise view.refusal(request.served, request.rank)
        return choose(forwarder, view, request, candidates, now)
    return _limited_choice(forwarder, view, request, ticket, left_out, now)


def _limited_choice(
    forwarder: Forwarder, view: FleetView, request: Request, ticket: Ticket, left_out: Sequence[Slot], now: float
) -> Chosen:
    fleet, limits = forwarder.fleet, forwarder.limits
    limits.take_back(ticket, view.pool)
    full = limits.gate.workers.full
    if view.recovering:
        others = [*left_out, *(slot for slot in view.recovering if slot.id in full)]
        if (chosen := probe(forwarder, view, request, others, now)) is not None:
            return chosen
    if not full:
        candidates = candidates_of(fleet, view, request, left_out, now)
    else:
        free = free_candidates(fleet, view, request, left_out, full, now)
        if free == ():
            raise AllAreFull(view.pool, tuple(left_out))
        candidates = fleet.slow_start.thinned(free or ())
    if not candidates:
        raise view.refusal(request.served, request.rank)
    chosen = choose(forwarder, view, request, candidates, now)
    if full and (detail := chosen[3]) is not None:
        detail.unsuited = _why_full(forwarder, view, request)
    return chosen


def _why_full(forwarder: Forwarder, view: FleetView, request: Request) -> Mapping[str, str]:
    """Return in words why workers are left out that are full; so many as a receipt lists."""
    limits = forwarder.limits
    slots = limits.gate.workers.slots
    full = (slots[slot.id] for slot in view.candidates(request.served, request.rank) if slot.id in slots)
    return {
        one.worker: f"is full: {_of_this_plane(one.in_use)} there, of {limits.whole(one)} of all planes"
        f" (this one may have {one.allowed} now)"
        for one in islice((one for one in full if one.in_use >= one.allowed), MAX_LISTED)
    }


def _of_this_plane(count: int) -> str:
    return "1 request of this plane is" if count == 1 else f"{count} requests of this plane are"


def probe(forwarder: Forwarder, view: FleetView, request: Request, tried: Sequence[Slot], now: float) -> Chosen | None:
    """Return a worker that the request is to probe; None, as a rule."""
    slot = forwarder.take_probe(view, request.served, tried, request.rank)
    if slot is None:
        return None
    detail = None
    if (why := forwarder.receipts.why()) is not None:
        why.note = "a probe of a half-open breaker: the policy was not asked"
        detail = Detail(view, (slot,), why, now)
        forwarder.receipts.refer(view)
    return slot, True, 0, detail, view.policy_of(request.model).name


def choose(forwarder: Forwarder, view: FleetView, request: Request, candidates: tuple[Slot, ...], now: float) -> Chosen:
    """Return one of the candidates, of which there is at least one; `now` is the loop's time in seconds."""
    why = forwarder.receipts.why()
    expected = 0
    policy = view.policy_of(request.model) if view.model_policies else view.policy
    if request.to_first:
        slot = candidates[0]
        if why is not None:
            why.note = "what any worker could answer goes to the first one: the policy was not asked"
    else:
        if request.preparations:
            request.prepare_for(policy)
        slot = policy.pick(candidates, request, why)
        # What a prefill worker has computed is not computed again.
        expected = policy.expected if view.pool != "decode" else 0
    detail = None
    if why is not None:
        detail = Detail(view, candidates, why, now)
        forwarder.receipts.refer(view)
    return slot, False, expected, detail, policy.name
