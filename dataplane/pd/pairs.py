"""Which prefill worker can hand over to which decode worker, as far as one table tells, and which pairs are out.

Workers that are alike fit the same ones, so the connector is asked once for each two kinds, not for each two workers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence, Set
from typing import TYPE_CHECKING

from dataplane.pd.connector import Connector, Peer
from dataplane.pd.pair_breaker import PairBreakers

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
        ours, theirs = self._one_of_each(prefill), self._one_of_each(decode)
        self.all_do = len(ours) * len(theirs) <= MOST_KINDS and all(
            self.fit(one, other) for one in ours for other in theirs
        )
        """Whether any two do, as far as that could be looked into."""

    def _one_of_each(self, slots: Iterable[Slot]) -> Collection[Slot]:
        found: dict[_Kind, Slot] = {}
        for slot in slots:
            kind = self._kinds[slot] = kind_of(slot.peer)
            found.setdefault(kind, slot)
        return found.values()

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
