"""One choice of a worker for an attempt: a probe that is due, else the policy's pick among the candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dataplane.fleet_view import FleetView
from dataplane.receipts import Detail
from dataplane.slot import Slot

if TYPE_CHECKING:
    from dataplane.forward import Forwarder
    from dataplane.request import Request


Chosen = tuple[Slot, bool, int, Detail | None, str]
"""The worker; whether it is to be probed; the prompt tokens that it will compute; what is written down of the choice;
the name of the policy that chose, or would have. A plain tuple: one is made for each attempt."""


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
