"""Prompts so short that a prefill worker and the transfer cost more than they save (`--pd-bypass-tokens`).

    uncached = tokens of the prompt - tokens at its beginning that the decode worker which has most of it has cached

A request with fewer is done by a decode worker as a whole. The decode policy tells it, as it believes or knows; where
it knows no prompts (it chooses by load, turns or sessions), nothing counts as cached. Four bytes of text count for a
token, as does each id of a list, unless the policy has the prompt's tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dataplane.candidates import candidates_of
from dataplane.policies import Candidate, Policy, RequestView
from dataplane.policies.prompt import read_prompt
from dataplane.receipts import Try

if TYPE_CHECKING:
    from dataplane.fleet import Fleet
    from dataplane.request import Request


def uncached_tokens(policy: Policy, candidates: Sequence[Candidate], request: RequestView) -> int | None:
    """Return the figure; None when no prompt can be read."""
    told = policy.uncached(candidates, request)
    if told is not None:
        return told
    prompt = read_prompt(request.body)
    return None if prompt is None else prompt.tokens


def note(tries: Sequence[Try], why: str) -> None:
    """Have the receipt of the last attempt say why it was made, if it is a detailed one."""
    if tries and (detail := tries[-1].detail) is not None:
        detail.why.note = "; ".join(filter(None, (why, detail.why.note)))


def why_bypassed(fleet: Fleet, request: Request, now: float) -> str | None:
    """Return why no prefill worker is asked, for a receipt; None when one is. `now` is the loop's time in seconds."""
    view = fleet.view.of("decode")
    limit = view.settings.pd_bypass_tokens
    candidates = candidates_of(fleet, view, request, (), now)
    if not candidates:
        return None
    policy = view.policy_of(request.model)
    request.prepare_for(policy)
    uncached = uncached_tokens(policy, candidates, request)
    if uncached is None or uncached >= limit:
        return None
    return f"about {uncached} tokens to compute, under --pd-bypass-tokens {limit}: no prefill worker asked"
