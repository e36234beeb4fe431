"""The pair that one request is at, and what its legs say about the way between the two."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from dataplane.fleet_view import PoolName
from dataplane.pd.handover import is_of_link
from dataplane.pd.pairs import Pair
from dataplane.receipts import MAX_LISTED
from dataplane.slot import Slot
from shared.errors import RouterError, no_worker
from shared.messages import EvidenceKind

if TYPE_CHECKING:
    from dataplane.forward import Forwarder
    from dataplane.request import Request


class Link:
    """`prefill` is the worker that computes the prompt, or has; `failed` are pairs that have failed this request."""

    __slots__ = ("_answers", "_decode", "_forwarder", "_request", "failed", "prefill")

    def __init__(self, request: Request, forwarder: Forwarder) -> None:
        self._request = request
        self._forwarder = forwarder
        self.prefill: Slot | None = None
        self._decode: Slot | None = None
        self._answers = 0
        self.failed: set[Pair] = set()

    # --- who can be chosen -------------------------------------------------------------------------------

    def _ready(self, pool: PoolName, tried: Collection[Slot] = ()) -> Sequence[Slot]:
        request = self._request
        groups = self._forwarder.fleet.view.of(pool).groups(request.served, request.rank)
        return [slot for slot in chain.from_iterable(groups) if slot not in tried]

    def unsuited_prefill(self, tried: Collection[Slot]) -> Collection[Slot]:
        """Return the prefill workers that none of the decode workers which were not `tried` can take over from."""
        pairs = self._forwarder.fleet.pairs
        if not pairs.keeps_apart and not self.failed:
            return ()
        now = self._forwarder.loop.time()
        return pairs.without_partner(self._ready("prefill"), self._ready("decode", tried), self.failed, now)

    def unsuited_decode(self) -> Collection[Slot]:
        """Return the decode workers that should not take over."""
        pairs = self._forwarder.fleet.pairs
        if self.prefill is None or not (pairs.keeps_apart or pairs.full or self.failed):
            return ()
        now = self._forwarder.loop.time()
        return pairs.no_partners(self.prefill, self._ready("decode"), self.failed, now)

    def why_unsuited_prefill(self, tried: Collection[Slot]) -> Mapping[str, str]:
        """Return the reasons in words, by the workers' ids; so many as a receipt lists."""
        decode = self._ready("decode", tried)
        return {
            slot.id: next(self._whys((slot, other) for other in decode), "has failed this request before")
            for slot in islice(self.unsuited_prefill(tried), MAX_LISTED)
        }

    def why_unsuited_decode(self) -> Mapping[str, str]:
        """Return the reasons in words, likewise."""
        prefill = self.prefill
        if prefill is None:
            return {}
        return {
            slot.id: next(self._whys([(prefill, slot)]), None)
            or (
                "has failed this request before with the same prefill worker"
                if (prefill, slot) in self.failed
                else "its KV cache is nearly full"
            )
            for slot in islice(self.unsuited_decode(), MAX_LISTED)
        }

    def refusal(self) -> RouterError | None:
        """Return that workers are there, but no two that can be a pair; None if that is not why."""
        pairs = [(one, other) for one in self._ready("prefill") for other in self._ready("decode")]
        now = self._forwarder.loop.time()
        if not pairs or any(self._forwarder.fleet.pairs.can(one, other, now) for one, other in pairs):
            return None
        return no_worker(f"No prefill worker can hand over to a decode worker: {next(self._whys(pairs))}.")

    def _whys(self, pairs: Iterable[Pair]) -> Iterator[str]:
        now = self._forwarder.loop.time()
        why_not = self._forwarder.fleet.pairs.why_not
        return (why for one, other in pairs if (why := why_not(one, other, now)) is not None)

    # --- what becomes of it ------------------------------------------------------------------------------

    def begun(self, decode: Slot) -> None:
        """Know that a decode worker is asked to take over."""
        self._decode = decode
        self._answers = decode.outcomes.answers
        breakers = self._forwarder.fleet.pairs.breakers
        if breakers and self.prefill is not None:
            is_try = breakers.begun((self.prefill, decode), self._forwarder.loop.time())
            self._forwarder.accounting.pair_breakers["tried"] += is_try

    def failed_by(self, kind: EvidenceKind, status: int, *, begun: bool) -> bool:
        """Note a failure of the decode leg, whose answer had `begun`; whether it speaks against the worker."""
        decode, prefill = self._decode, self.prefill
        if decode is None or prefill is None or not is_of_link(kind, status, begun=begun):
            return True
        forwarder = self._forwarder
        self.failed.add((prefill, decode))
        if forwarder.fleet.pairs.breakers.failed((prefill, decode), forwarder.loop.time()):
            forwarder.accounting.pair_breakers["opened"] += 1
        # One that answers nobody is at fault itself.
        return kind == "stalled" and decode.outcomes.answers == self._answers

    def passed(self) -> None:
        """Know that the decode worker had what it needed."""
        breakers = self._forwarder.fleet.pairs.breakers
        if breakers and self._decode is not None and self.prefill is not None:
            if breakers.passed((self.prefill, self._decode)):
                self._forwarder.accounting.pair_breakers["closed"] += 1
            self._decode = None

    def ended(self) -> None:
        """Know that nothing more will be heard of the pair."""
        decode, self._decode = self._decode, None
        breakers = self._forwarder.fleet.pairs.breakers
        if breakers and decode is not None and self.prefill is not None:
            breakers.ended((self.prefill, decode))

    def has_another_way(self) -> bool:
        """Whether another prefill worker could hand over to the decode worker."""
        decode = self._decode
        if decode is None:
            return False
        now = self._forwarder.loop.time()
        can = self._forwarder.fleet.pairs.can
        return any((one, decode) not in self.failed and can(one, decode, now) for one in self._ready("prefill"))
