"""Which prefill worker can hand over to which decode worker, as far as one table tells, and which pairs are out.

Workers that are alike fit the same ones, so the connector is asked once for each two kinds, not for each two workers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from itertools import product
from typing import TYPE_CHECKING

from dataplane.pd.connector import Connector, Peer
from dataplane.pd.pair_breaker import PairBreakers
from shared.plane_report import MAX_OPEN_PAIRS, OpenPair, PairReport

if TYPE_CHECKING:
    from dataplane.slot import Slot

Pair = tuple["Slot", "Slot"]
_Kind = tuple[object, ...]
MOST_KINDS = 4096
"""Pairs of kinds that are looked into when the table changes; beyond that each is when it comes up."""
FULL = 0.95
"""Of a decode worker's KV cache: with more, another sequence makes it throw out one that runs."""


_digits = re.compile(r"[0-9]+").sub
_letters = re.compile(r"[A-Za-z]+").sub


def _shape(address: str) -> str:
    """Return what addresses that are built alike have in common."""
    return _letters("a", _digits("9", address))


def kind_of(peer: Peer) -> _Kind:
    """Return what a connector may look at to say whether two workers fit."""
    transfer = peer.transfer
    return (
        peer.version,
        peer.models,
        transfer.connector,
        _shape(transfer.address),
        transfer.mode,
        transfer.bootstrap_port is not None,
        str(peer.rank or 0) in transfer.engine_ids,
        transfer.dp_size,
        transfer.tp_size,
    )


class Fits:
    """Who fits whom under one table."""

    def __init__(self, connector: Connector, prefill: Iterable[Slot], decode: Iterable[Slot]) -> None:
        self._connector = connector
        self._kinds: dict[Slot, _Kind] = {}
        self._known: dict[tuple[_Kind, _Kind], bool] = {}
        ours, theirs = self._by_kind(prefill), self._by_kind(decode)
        self.are_known = len(ours) * len(theirs) <= MOST_KINDS
        """Whether all could be looked into; what follows is of those that were."""
        kinds = [(some, others) for some in ours for others in theirs] if self.are_known else []
        self._fitting = [(some, others) for some, others in kinds if self.fit(some[0], others[0])]
        self.all_do = self.are_known and len(self._fitting) == len(kinds)
        """Whether any two do."""
        self.why_none = self._why_none(ours, theirs)
        """Why no two do, in words; empty when some may."""

    def _by_kind(self, slots: Iterable[Slot]) -> list[list[Slot]]:
        found: dict[_Kind, list[Slot]] = {}
        for slot in slots:
            kind = self._kinds[slot] = kind_of(slot.peer)
            found.setdefault(kind, []).append(slot)
        return list(found.values())

    def _why_none(self, ours: Sequence[Sequence[Slot]], theirs: Sequence[Sequence[Slot]]) -> str:
        if not ours or not theirs:
            return f"no {'decode' if ours else 'prefill'} worker is ready"
        if self._fitting or not self.are_known:
            return ""
        return self.why_not(ours[0][0], theirs[0][0]) or ""

    def fitting(self) -> Iterator[Pair]:
        """Yield pairs that do."""
        for some, others in self._fitting:
            yield from product(some, others)

    def fit(self, prefill: Slot, decode: Slot) -> bool:
        """Whether the two do. A worker that the table does not have is another life's, and fits nobody."""
        one, other = self._kinds.get(prefill), self._kinds.get(decode)
        if one is None or other is None:
            return False
        known = self._known.get((one, other))
        if known is None:
            known = self._known[one, other] = self.why_not(prefill, decode) is None
        return known

    def why_not(self, prefill: Slot, decode: Slot) -> str | None:
        """Return why they do not fit, in words; None when they do."""
        return self._connector.misfit(prefill.peer, decode.peer)


class Pairs:
    """What keeps two workers apart: they do not fit, or their breaker is open. Times are in seconds on one clock.

    `full` are workers with next to no room in their KV cache. `failed` are pairs that have failed one request before:
    it goes to others if it can.
    """

    def __init__(self) -> None:
        self.breakers: PairBreakers[Pair] = PairBreakers()
        self.full: set[Slot] = set()
        self._fits: Fits | None = None

    def adopt(self, fits: Fits | None) -> None:
        """Go by another table; None where there is no prefill/decode."""
        self._fits = fits
        self.full = {slot for slot in self.full if not slot.has_left}
        self.breakers.forget(lambda pair: pair[0].has_left or pair[1].has_left)

    def report(self, now: float) -> PairReport | None:
        """Return what is told of the pairs; None where there is no prefill/decode."""
        if self._fits is None:
            return None
        opened = list(self.breakers.opened(now))
        told = opened[-MAX_OPEN_PAIRS:]
        return PairReport(
            missing=self._fits.why_none or self._why_all_out(now),
            open=tuple(OpenPair(pair[0].id, pair[1].id, round(seconds, 1)) for pair, seconds in told),
            opened=len(opened),
        )

    def _why_all_out(self, now: float) -> str:
        if not self.breakers or self._fits is None or not self._fits.are_known:
            return ""
        # There are few open ones, so one that is not soon comes.
        are_out = all(self.breakers.is_out(pair, now) for pair in self._fits.fitting())
        return "the breakers of all pairs are open" if are_out else ""

    def know_room(self, slot: Slot, kv_usage: float) -> None:
        """Keep in mind who is full; `kv_usage` is from 0 to 1."""
        if kv_usage >= FULL:
            self.full.add(slot)
        else:
            self.full.discard(slot)

    def can(self, prefill: Slot, decode: Slot, now: float) -> bool:
        """Whether the two may be a pair now."""
        is_fit = self._fits is None or self._fits.fit(prefill, decode)
        return is_fit and not (self.breakers and self.breakers.is_out((prefill, decode), now))

    def why_not(self, prefill: Slot, decode: Slot, now: float) -> str | None:
        """Return why the two may be no pair now, in words; None when they may."""
        if self._fits is not None and (misfit := self._fits.why_not(prefill, decode)) is not None:
            return misfit
        if self.breakers.is_out((prefill, decode), now):
            return f"the breaker of the pair {prefill.id}, {decode.id} is open"
        return None

    @property
    def keeps_apart(self) -> bool:
        """Whether there may be two that can be no pair now."""
        return bool(self.breakers) or not (self._fits is None or self._fits.all_do)

    def without_partner(
        self, prefill: Sequence[Slot], decode: Sequence[Slot], failed: Set[Pair], now: float
    ) -> Collection[Slot]:
        """Return the prefill workers that none of the decode workers should take over from."""
        out = {one for one in prefill if not any(self.can(one, other, now) for other in decode)}
        rather_not = {
            one for one in prefill if all((one, other) in failed or not self.can(one, other, now) for other in decode)
        }
        return rather_not if len(rather_not) < len(prefill) else out

    def no_partners(self, prefill: Slot, decode: Sequence[Slot], failed: Set[Pair], now: float) -> Collection[Slot]:
        """Return the decode workers that should not take over from a prefill worker."""
        out = {one for one in decode if not self.can(prefill, one, now)}
        rather_not = {one for one in decode if (prefill, one) in failed or self._is_full(one)} - out
        return out | rather_not if len(out | rather_not) < len(decode) else out

    def _is_full(self, slot: Slot) -> bool:
        if slot not in self.full:
            return False
        figures = slot.figures()
        # An engine without a request tells what its last step left (vllm#29928).
        return figures.known and figures.kv_usage >= FULL and figures.in_flight > 0
