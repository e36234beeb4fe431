"""The same worker for the same session, on every plane, as long as that worker is not overloaded.

The session's key, or else the opening of its prompt, has a place on the ring (`ring.py`), and the workers that follow
it are its order of preference. The first that is ready and below its bound gets the request; the bound is
`--session-max-load` times the mean load, rounded up, and at least 4 requests (Mirrokni et al., "Consistent hashing
with bounded loads", 2018). A session whose home is over it goes to the next in its own order, always the same one,
and comes home afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import msgspec

from dataplane.policies.base import C, PlaneView, Policy, RequestView, Why
from dataplane.policies.lack import lack
from dataplane.policies.prompt import PromptFields, hash64, opening_key
from dataplane.policies.ring import Ring, Rings
from dataplane.policies.session_key import of_body, of_fields, of_head
from dataplane.policies.survey import Survey, Surveys
from shared.decoding import DECODE_ERRORS
from shared.table import RoutingTable, Settings

NEVER_OVER = 4
"""Requests that overload no engine, whatever the mean: without this one request at home would send the next away."""


def within_bound(ring: Ring, key: int, survey: Survey[C], factor: float, why: Why | None = None) -> C:
    """Return the key's first worker whose load stays within `factor` times the mean with this request in it."""
    mean = survey.mean + 1 / len(survey.candidates)
    by_id = survey.by_id
    first: C | None = None
    over: list[C] = []
    for worker in ring.walk(key):
        one = by_id.get(worker)
        if one is None:
            continue
        if one.load() + 1 <= max(NEVER_OVER, ceil(factor * mean * one.weight)):
            if why is not None:
                why.add(one, "home" if not over else "next in its order: those before are over their bound", one.load())
                for busy in over:
                    why.add(busy, f"over {factor:g} times the mean of {mean:.1f} requests", busy.load())
            return one
        first = first or one
        over.append(one)
    # The mean is a moment old, or the ring is of another table: then nobody is below it.
    chosen = first or survey.least()
    if why is not None:
        why.add(chosen, "home: nobody is within the bound" if first else "the least loaded: the ring has none of them")
    return chosen


class _Body(PromptFields):
    """All that makes a key, read at once: looking through a large body is most of what a choice costs."""

    session_params: Any = None
    user: Any = None
    session_id: Any = None
    user_id: Any = None


_decode = msgspec.json.Decoder(_Body).decode


class ConsistentHash(Policy):
    """By session, else by the prompt's opening."""

    name = "consistent_hash"
    fallbacks = {  # noqa: RUF012 - a ClassVar of the base
        "no_key": "requests without a session or a prompt go to the least loaded worker; see docs/policies.md",
    }

    def __init__(self, plane: PlaneView) -> None:
        super().__init__(plane)
        self._rings = Rings()
        self._surveys: Surveys[Any] = Surveys()
        self._use(Settings())

    def follow(self, table: RoutingTable) -> None:
        """Go by this table's workers and settings."""
        self._rings.follow(table)
        self._surveys.forget()
        self._use(table.settings)

    def _use(self, settings: Settings) -> None:
        self._headers = tuple(name.encode() for name in settings.session_headers)
        self._factor = settings.session_max_load

    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        """Return the first worker within its bound in the order of the request's key."""
        survey: Survey[C] = self._surveys.of(candidates, request.model, request.arrived)
        outcome, key = self._key(request)
        self.outcomes[outcome if key is not None else lack(outcome, request)] += 1
        if key is None:
            chosen = survey.least()
            if why is not None:
                why.note = "neither a session nor a prompt"
                why.add(chosen, "the least loaded", chosen.load())
            return chosen
        if why is not None:
            why.note = f"key: {outcome}"
        return within_bound(self._rings.of(request.model), key, survey, self._factor, why)

    def _key(self, request: RequestView) -> tuple[str, int | None]:
        session = of_head(request, self._headers)
        body: _Body | None = None
        if session is None:
            try:
                body = _decode(request.body)
                session = of_fields(body)
            except DECODE_ERRORS:
                # What can not be a prompt may tell a session all the same.
                session = of_body(request.body)
        if session is not None:
            return "session", hash64(session.value)
        key = opening_key(body, request.model) if body is not None else None
        return ("no_key" if key is None else "prompt"), key
