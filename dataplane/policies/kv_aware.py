"""The worker whose engine holds most of the prompt, by its own word, unless its queue would cost more than that saves.

Engines tell the control plane of every KV block that comes and goes (docs/kv-events.md), and planes have a copy. Of
each prompt the token ids are needed: given by the client, or by the model's tokenizer on this machine. A request whose
prompt can not be read, or that nobody holds anything of, is chosen for by `cache_aware`; `outcomes` names why.

    cost = prompt tokens - credit + queue

in tokens to compute: its own, and those that it would wait for (`queue.py`). `credit` counts each token that is
held from the prompt's beginning on, by where it is: on the device 1, elsewhere by `--kv-penalty-host`, `-external`,
`-disk`. The cheapest of the workers that hold something and of the least loaded one is chosen; with
`--router-temperature` T one is drawn of all, with weights exp(-cost / (T * prompt tokens)).

A session's last worker (`--kv-aware-session-affinity-ttl-secs`) is chosen instead when it costs at most `mean` more:
what it computed a moment ago may not have been told yet.
"""

from __future__ import annotations

import math
from asyncio import Future
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from dataplane.kv.prompts import WHY, PromptKeys
from dataplane.kv.replica import Copy, Replica
from dataplane.kv.sessions import Sessions
from dataplane.policies.base import C, PlaneView, Policy, RequestView, Why
from dataplane.policies.cache_aware import CacheAware
from dataplane.policies.lack import lack
from dataplane.policies.queue import Queues
from dataplane.policies.session_key import session_key
from dataplane.policies.survey import Survey, Surveys
from shared.decoding import DECODE_ERRORS
from shared.kv_messages import TIER_DEVICE
from shared.messages import Learnt
from shared.table import ModelCard, RoutingTable, Settings

_MOST_HOLDERS = 16
"""Workers that are weighed against each other and against the least loaded one: those that hold most."""


class _Offer(NamedTuple):
    """A candidate's cost in tokens to compute, and what it holds."""

    cost: float
    credit: float
    candidate: Any


class KvAware(Policy):
    """By the engines' own KV events."""

    name = "kv_aware"
    fallbacks = {  # noqa: RUF012 - a ClassVar of the base
        **{why: f"{text}; such requests go by cache_aware" for why, text in WHY.items()},
        "no_events": "no engine has told what it holds; requests go by cache_aware (see docs/kv-events.md)",
        "not_read": "requests that arrived before the first KV events, or that one worker does for want of a pair, go "
        "by cache_aware",
        "other_model": "the KV events are of --kv-event-model; requests for other models go by cache_aware",
    }

    def __init__(self, plane: PlaneView) -> None:
        super().__init__(plane)
        self._settings = Settings()
        self._headers: tuple[bytes, ...] = ()
        self._adapters: frozenset[str] = frozenset()
        self._surveys: Surveys[Any] = Surveys()
        self._sessions = Sessions()
        self._queues = Queues()
        self._otherwise = CacheAware(plane)

    def follow(self, table: RoutingTable) -> None:
        """Go by this table's workers and settings."""
        settings = self._settings = table.settings
        self._headers = tuple(name.encode() for name in settings.session_headers)
        self._adapters = frozenset(model.id for model in table.models.values() if _is_adapter(model))
        self._surveys.forget()
        self._sessions.use(settings.kv_session_ttl)
        self._otherwise.follow(table)
        if self.plane.kv is not None:
            self.plane.kv.use(self, settings.tokenizer)

    def leave(self) -> None:
        """Forget what the engines hold."""
        if self.plane.kv is not None:
            self.plane.kv.forget(self)

    def learnt(self) -> Mapping[str, Learnt]:
        """Return what `cache_aware` has learnt."""
        return self._otherwise.learnt()

    def hear(self, learnt: Mapping[str, Learnt], now: float) -> None:
        """Tell `cache_aware` what another plane's has learnt."""
        self._otherwise.hear(learnt, now)

    def finish_session(self, session: str) -> None:
        """Forget a session that is over."""
        self._sessions.forget(session.encode())

    # --- the prompt ----------------------------------------------------------------------------------------

    def prepare(self, request: RequestView) -> Future[PromptKeys] | None:
        """Have the prompt read."""
        kv = self.plane.kv
        if kv is None or self._why_not(request) is not None:
            return None
        adapter = request.model if request.model in self._adapters else None
        return kv.prompts.read(request.path, request.body, request.model, adapter, kv.replica.by_size)

    def _why_not(self, request: RequestView) -> str | None:
        """Return why a prompt need not be read; None when it is to be."""
        kv = self.plane.kv
        if kv is None or not kv.replica.by_size:
            return "no_events"
        wanted = self._settings.kv_event_model
        if wanted is not None and request.model is not None and request.model not in (wanted, *self._adapters):
            return "other_model"
        return kv.prompts.why_not(request.path, request.body)

    # --- the choice ----------------------------------------------------------------------------------------

    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        """Return the cheapest one, or what `cache_aware` says."""
        prompt = request.prepared
        if not isinstance(prompt, PromptKeys):
            return self._pick_otherwise(self._why_not(request) or "not_read", candidates, request, why)
        if prompt.why:
            return self._pick_otherwise(prompt.why, candidates, request, why)
        survey: Survey[C] = self._surveys.of(candidates, request.model, request.arrived)
        queues = self._queues
        offers = self._offers(survey, prompt)
        session = session_key(request, self._headers) if self._sessions.ttl else None
        if offers:
            best = self._best(offers, prompt)
            outcome = "prefix_hit" if best.credit else "prefix_too_dear"
        else:
            best = _Offer(0.0, 0.0, self._otherwise.pick(candidates, request, why))
            outcome = "prefix_miss"
        last = None if session is None else survey.by_id.get(self._sessions.last(session.value, request.arrived) or "")
        if last is not None and last is not best.candidate:
            credit = next((offer.credit for offer in offers if offer.candidate is last), 0.0)
            cost = prompt.tokens - credit + queues.cost(last)
            best_cost = best.cost if offers else prompt.tokens + queues.cost(best.candidate)
            if cost <= best_cost + queues.mean:
                best, outcome = _Offer(cost, credit, last), "session"
        self.outcomes[outcome] += 1
        chosen: C = best.candidate
        if session is not None:
            self._sessions.note(session.value, chosen.id, request.arrived)
        if why is not None:
            _explain(why, prompt, queues.each, outcome, best, offers)
        self.prompt_tokens += prompt.tokens
        self.cached_tokens += int(best.credit)
        self.expected = queues.join(request.path, prompt.tokens - best.credit)
        return chosen

    def uncached(self, candidates: Sequence[C], request: RequestView) -> int | None:
        """Return it by what the candidates' engines hold."""
        prompt, kv = request.prepared, self.plane.kv
        if kv is None or not isinstance(prompt, PromptKeys) or prompt.why:
            return self._otherwise.uncached(candidates, request)
        among = {one.id for one in candidates}
        holders = self._holders(kv.replica, _groups(kv.replica, prompt))
        return prompt.tokens - int(next((credit for worker, credit in holders if worker in among), 0))

    def _pick_otherwise(self, reason: str, candidates: Sequence[C], request: RequestView, why: Why | None) -> C:
        self.outcomes[lack(reason, request)] += 1
        otherwise = self._otherwise
        known, cached = otherwise.prompt_tokens, otherwise.cached_tokens
        chosen = otherwise.pick(candidates, request, why)
        self.prompt_tokens += otherwise.prompt_tokens - known
        self.cached_tokens += otherwise.cached_tokens - cached
        self.expected = otherwise.expected
        if why is not None:
            why.note = f"{reason}: by cache_aware; {why.note}"
        return chosen

    def _offers(self, survey: Survey[C], prompt: PromptKeys) -> list[_Offer]:
        """Return what candidates there are to choose from; nothing when nobody holds anything of the prompt."""
        kv = self.plane.kv
        if kv is None:
            return []
        everybody = bool(self._settings.router_temperature)
        most = len(survey.candidates) if everybody else _MOST_HOLDERS
        groups = _groups(kv.replica, prompt)
        credits: dict[str, float] = {}
        for worker, credit in self._holders(kv.replica, groups):
            if worker in survey.by_id and credit > credits.get(worker, 0.0):
                credits[worker] = credit
                if len(credits) >= most:
                    break
        if not credits:
            return []
        others: Sequence[C] = survey.candidates if everybody else (survey.least(),)
        for one in others:
            if one.id not in credits:
                bits = kv.replica.bits_of(one.id)
                # Of many that hold something not all were looked at.
                credits[one.id] = max((credit for _, credit in self._holders(kv.replica, groups, bits)), default=0.0)
        offers = []
        for worker, credit in credits.items():
            one = survey.by_id[worker]
            offers.append(_Offer(prompt.tokens - credit + self._queues.cost(one), credit, one))
        return offers

    def _holders(self, replica: Replica, groups: Sequence[_Group], among: int = -1) -> Iterator[tuple[str, float]]:
        """Yield workers and what their engines hold, in tokens saved; of each block size those that hold most first."""
        worth = self._settings.kv_credits
        for keys, depth, bits in groups:
            # Of many that hold the same, others come first each time.
            for bit in _each_bit(bits & among, self.plane.rng.getrandbits(64)):
                copy = replica.copy_of(bit)
                yield copy.worker, credit_of(copy, keys[:depth], worth)

    def _best(self, offers: list[_Offer], prompt: PromptKeys) -> _Offer:
        best = min(offers, key=_cost)
        temperature = self._settings.router_temperature
        if not temperature:
            return best
        unit = temperature * max(1, prompt.tokens)
        weights = [math.exp((best.cost - offer.cost) / unit) for offer in offers]
        return self.plane.rng.choices(offers, weights)[0]


class _Group(NamedTuple):
    """Engines that hold the first `depth` of a prompt's blocks, and not the next one."""

    keys: Sequence[int]
    depth: int
    bits: int


def _groups(replica: Replica, prompt: PromptKeys) -> list[_Group]:
    return [
        _Group(keys, depth, bits)
        for size, engines in replica.by_size.items()
        for keys in (prompt.keys.get(size, ()),)
        for depth, bits in replica.holders.depths(keys, engines)
    ]


def credit_of(copy: Copy, keys: Sequence[int], worth: Sequence[float]) -> float:
    """Return what blocks that an engine holds save, in tokens; `worth` is that of a token by tier."""
    lower = copy.lower
    blocks = sum(worth[lower.get(key, TIER_DEVICE) - 1] for key in keys) if lower else len(keys) * worth[0]
    return blocks * copy.block_size


def _each_bit(bits: int, draw: int) -> Iterator[int]:
    """Yield each bit of a number, beginning at a place that `draw` says."""
    if not bits:
        return
    low = (1 << draw % bits.bit_length()) - 1
    for part in (bits & ~low, bits & low):
        while part:
            bit = part & -part
            yield bit
            part ^= bit


def _cost(offer: _Offer) -> float:
    return offer.cost


def _explain(why: Why, prompt: PromptKeys, each: float, outcome: str, best: _Offer, offers: Sequence[_Offer]) -> None:
    note = f"{outcome}: prompt of {prompt.tokens} tokens; a request there counts for {each:.0f}"
    if outcome == "prefix_miss":
        # Whom cache_aware weighed against each other is there already.
        why.note = f"{note}; by cache_aware: {why.note}"
        return
    why.note = note
    why.choices.clear()
    reason = f"the session's last worker, {_held(best)}" if outcome == "session" else _held(best)
    why.add(best.candidate, reason, best.cost)
    for offer in sorted(offers, key=_cost):
        if offer.candidate is not best.candidate:
            why.add(offer.candidate, _held(offer), offer.cost)


def _held(offer: _Offer) -> str:
    one = offer.candidate
    return f"{offer.credit:g} tokens cached, {one.prefill()} to compute, load {one.load():g}"


class _Card(msgspec.Struct):
    parent: str | None = None


def _is_adapter(model: ModelCard) -> bool:
    try:
        return msgspec.json.decode(model.card, type=_Card).parent is not None
    except DECODE_ERRORS:
        return False
