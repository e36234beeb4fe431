"""One disaggregated request: attempts at prefill workers, then attempts at decode workers, then it is over.

    prefill -> decode -> over          Each failure goes on, back or out as `handover.py` says;
       ^         |                     out is `whole`: one worker does it all.
       +---------+

Some connectors want both workers chosen before, or asked at once (`connector.Order`). Then the decode worker belongs
to the pairing that the prefill worker was chosen for, and whatever fails ends both legs: another pairing follows.

To the request it is what `Attempts` are, of which it has those of one leg or two open at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataplane.attempts import Attempts
from dataplane.candidates import is_reachable
from dataplane.exchange import Exchange
from dataplane.leg import Leg, Message
from dataplane.pd.bypass import note, why_bypassed
from dataplane.pd.collector import Collector
from dataplane.pd.connector import Connector, Order
from dataplane.pd.handing import Handing
from dataplane.pd.handover import AfterPrefill, after_prefill, may_begin_anew, may_go_elsewhere, not_run
from dataplane.pd.legs import DecodeLeg, PrefillLeg
from dataplane.pd.link import Link
from dataplane.receipts import Try
from dataplane.slot import Slot
from dataplane.timeouts import Phase, Place
from shared.errors import RouterError, bad_answer
from shared.messages import EvidenceKind
from shared.table import Settings

if TYPE_CHECKING:
    from dataplane.forward import Forwarder
    from dataplane.request import Request

_PLACES_OF_A_LEG = 1 << 40
"""More than a leg has, so that no place in one is a place in another."""


class Disaggregated:
    """The attempts of one request at two workers."""

    __slots__ = (
        "_decode",
        "_forwarder",
        "_handing",
        "_open",
        "_prefill",
        "_request",
        "_silent",
        "answer",
        "link",
        "tries",
    )

    def __init__(self, request: Request, forwarder: Forwarder, connector: Connector) -> None:
        self._request = request
        self._forwarder = forwarder
        self._silent: list[Slot] = []
        self.tries: list[Try] = []
        self.link = Link(request, forwarder)
        self._handing = Handing(request, forwarder, connector)
        self.answer = self._handing.answer
        # Those of the prefill leg, while it is not over.
        self._prefill: Attempts | None = None
        self._decode = self._attempts(DecodeLeg(self, request))
        # Those that the request waits for.
        self._open: Attempts | None = None

    def _attempts(self, leg: Leg) -> Attempts:
        """Return a leg's attempts. They count on from those that failed before, of whatever leg."""
        attempts = Attempts(self._request, leg, self._forwarder, self._failures)
        attempts.tries = self.tries
        attempts.silent = self._silent
        return attempts

    @property
    def _failures(self) -> int:
        failures = 0
        for one in self.tries:
            if one.failed and not one.withdrawn:
                failures += 1
        return failures

    # --- what the request wants of attempts --------------------------------------------------------------

    @property
    def _front(self) -> Attempts | None:
        """Those that the client gets its answer from. Asked together, the decode worker may be the first."""
        is_early = self._open is self._prefill and self.answer.started
        return self._decode if is_early else self._open

    @property
    def exchange(self) -> Exchange | None:
        """That of the leg which the client gets its answer from."""
        front = self._front
        return front.exchange if front is not None else None

    @property
    def last_worker(self) -> str | None:
        """The id of the worker that was tried last."""
        return self.tries[-1].worker if self.tries else None

    def next(self) -> None:
        """Begin. Raises RouterError when there is nobody."""
        if self._settings.pd_fallback and not self._has_pair() and self._go_elsewhere("no pair is ready"):
            return
        if self._settings.pd_bypass_tokens and self._bypass():
            return
        error = self._begin_prefill()
        if error is not None and not self._may_go_elsewhere(error):
            raise error

    def reroute(self) -> None:
        """Choose again at once if a worker has left that an open leg waits for."""
        if self._prefill is not None:
            self._prefill.reroute()
        if self._open is not None and self._open is not self._prefill:
            self._open.reroute()

    def place(self) -> Place:
        """Return how far the request has come."""
        front = self._front
        phase, mark = (Phase.PREFILLING, 0) if front is None else front.place()
        if front is None or (front is self._prefill and phase is not Phase.QUEUED):
            return Place(Phase.PREFILLING, len(self.tries))
        if phase is Phase.WAITING and front is self._decode and self._handing.is_first_byte_due(front.exchange):
            phase = Phase.FETCHING
        return Place(phase, mark + _PLACES_OF_A_LEG * len(self.tries))

    def let_finish(self) -> bool:
        """As that of `Attempts`."""
        front = self._front
        return front is not None and front.let_finish()

    def stalled(self) -> None:
        """Know that the request has stood still for too long."""
        if (front := self._front) is not None:
            front.stalled()

    def begin_anew(self) -> bool:
        """Take another pair, since a decode worker says nothing; whether that is possible."""
        if not self._may_begin_anew():
            return False
        self._decode.forsake()
        self._begin_anew("decode-first-byte")
        return True

    def tell(self, what: str, *, gave_up: bool) -> None:
        """Log a failure of the worker at hand."""
        if (front := self._front) is not None:
            front.tell(what, gave_up=gave_up)

    def close(self) -> None:
        """Give back what is held; the connections of open legs are closed at once."""
        self._drop_prefill()
        self._decode.close()
        if self._open is not None:
            self._open.close()
            self._open = None
        self.link.ended()
        # It refers back to us; taking it out lets both go without the garbage collector.
        del self._decode

    def _has_pair(self) -> bool:
        fleet = self._forwarder.fleet
        served, now = self._request.served, self._forwarder.loop.time()
        return all(is_reachable(fleet, half, served, now) for half in fleet.view.pools.values())

    def _bypass(self) -> bool:
        """Have a decode worker do the whole request, if that is little work for it."""
        forwarder = self._forwarder
        why = (
            why_bypassed(forwarder.fleet, self._request, forwarder.loop.time()) if self._handing.serves_whole else None
        )
        if why is None:
            return False
        self._open = self._decode
        self._ask_decode(None, "bypassed")
        note(self.tries, why)
        return True

    # --- prefill -----------------------------------------------------------------------------------------

    def _begin_prefill(self) -> RouterError | None:
        """Begin a prefill leg, or return why there can be none."""
        self._drop_prefill()
        self.link.prefill = None
        if not self._decode.finds_somebody():
            return self._forwarder.fleet.view.of("decode").refusal(self._request.served)
        self._open = self._prefill = self._attempts(PrefillLeg(self, self._request.client.method))
        try:
            self._prefill.next()
        except RouterError as error:
            return self.link.refusal() or error
        return None

    def decode_tried(self) -> list[Slot]:
        """Return the decode workers that are not asked again."""
        return self._decode.tried

    @property
    def is_paired(self) -> bool:
        """Whether both workers were chosen for each other."""
        return self._handing.is_paired

    def prefill_message(self, slot: Slot) -> Message:
        """Begin a pairing with a prefill worker; return what it is asked. Raises RouterError."""
        self._drop_decode("its prefill worker was not asked")
        self.link.prefill = slot
        self._handing.choose_order(slot.peer)
        decode = self._decode.choose().peer if self.is_paired else None
        return self._handing.ask_prefill(slot.peer, decode)

    def prefill_sent(self) -> None:
        """Ask the decode worker, too, where both are asked together."""
        if self._handing.order is Order.TOGETHER:
            self._ask_decode(b"", "two-workers")

    def prefill_broke(self) -> None:
        """Know that a prefill worker has failed and another is asked: not for this pairing's decode worker."""
        if self.answer.started:
            # The decode worker has all that it needs.
            self._go_on_without_prefill()
        elif self.is_paired:
            self._drop_decode("its prefill worker failed")

    def prefill_again(self) -> None:
        """Choose another prefill worker."""
        if self._prefill is not None:
            try:
                self._prefill.next()
            except RouterError as error:
                self.prefill_failed(self.link.refusal() or error)

    def prefill_failed(self, error: RouterError) -> None:
        """Know that the prefill leg has failed for good."""
        if self.answer.started:
            self._go_on_without_prefill()
        else:
            self.failed(error)

    def prefilled(self, answer: Collector) -> None:
        """Take the prefill worker's answer."""
        step = after_prefill(answer.status, may_fall_back=self._settings.pd_fallback)
        handoff = self._handing.read(answer.body) if step is AfterPrefill.DECODE else None
        if self.answer.started:
            self._go_on_without_prefill()
        elif step is AfterPrefill.DECODE:
            self._hand_over(handoff)
        elif step is AfterPrefill.ANSWER or not self._go_elsewhere(f"its prefill was answered {answer.status}"):
            self._drop_decode("its prefill worker refused")
            # The client gets what the prefill worker says.
            self._prefill = None
            self._request.client.answer(answer.status, answer.headers, answer.body)
            self._request.answered()

    def _go_on_without_prefill(self) -> None:
        self._open = self._decode
        self._drop_prefill()

    # --- decode ------------------------------------------------------------------------------------------

    def _hand_over(self, handoff: bytes | None) -> None:
        if handoff is None and not self._handing.can_recompute():
            self._handed_nothing_over()
            return
        self._go_on_without_prefill()
        if self._handing.order is not Order.TOGETHER:
            self._ask_decode(handoff, "recomputed" if handoff is None else "two-workers")

    def _handed_nothing_over(self) -> None:
        may_begin_anew = self._may_begin_anew()
        if self._prefill is not None:
            self._prefill.tell("handed no KV cache over", gave_up=not may_begin_anew)
        self._drop_decode("nothing was handed over to it")
        if may_begin_anew:
            self._begin_anew("no-handoff")
        else:
            self.failed(bad_answer("to the prompt handed no KV cache over"))

    def _ask_decode(self, handoff: bytes | None, way: str) -> None:
        self._handing.hand_over(handoff)
        self._forwarder.accounting.disaggregated[way] += 1
        self._decode.is_sent = False
        try:
            ask = self._decode.ask if self.is_paired else self._decode.next
            ask()
        except RouterError as error:
            self.failed(self.link.refusal() or error)

    def decode_message(self, slot: Slot) -> Message:
        """Return what a decode worker is asked. Raises RouterError."""
        asked = self._handing.ask_decode(slot.peer)
        if asked is None:
            return self._request.message(slot)
        self.link.begun(slot)
        return self._handing.compose(asked)

    def decode_broke(self) -> None:
        """Know that the decode worker has failed: what the other one does for it is of no more use."""
        self._go_on_without_prefill()

    def decode_failed_by(self, kind: EvidenceKind, status: int) -> bool:
        """Whether a failure is the decode worker's; the pair's otherwise."""
        if not self._handing.serves_once:
            return True
        exchange = self._decode.exchange
        is_of_worker = self.link.failed_by(kind, status, begun=exchange is not None and exchange.parts > 0)
        if not is_of_worker and self.link.has_another_way():
            # It can be asked again, with another prefill worker.
            self._decode.tried.pop()
        return is_of_worker

    @property
    def must_renew(self) -> bool:
        """Whether the decode leg needs another prefill before it goes on."""
        return self._handing.must_renew(is_sent=self._decode.is_sent)

    @property
    def not_run(self) -> frozenset[int]:
        """Statuses after which the decode leg is tried again."""
        return not_run(hands_over=self._handing.serves_once, failures=self._failures)

    def renew(self) -> None:
        """Have another prefill for the decode leg."""
        if (error := self._begin_prefill()) is not None:
            self.failed(error)

    def decoded(self) -> None:
        """Know that the client has the whole answer."""
        exchange = self._decode.exchange
        if exchange is not None and exchange.status < 400:
            self.link.passed()
        self._open = self._decode
        self._request.answered()

    def _drop_prefill(self) -> None:
        prefill, self._prefill = self._prefill, None
        if prefill is not None:
            prefill.close()

    def _drop_decode(self, why: str) -> None:
        self._decode.withdraw(why)
        self.link.ended()

    # --- ways out ----------------------------------------------------------------------------------------

    def _may_begin_anew(self) -> bool:
        budget_left = self._forwarder.budget.has_token(self._forwarder.loop.time())
        return budget_left and may_begin_anew(self._failures, max_attempts=self._settings.max_attempts)

    def _begin_anew(self, cause: str) -> None:
        self._forwarder.budget.take()
        self._forwarder.accounting.retries[cause] += 1
        self.renew()

    def failed(self, error: RouterError) -> None:
        """Know that a leg has failed before the client got anything."""
        if not self._may_go_elsewhere(error):
            self._request.refuse(error)

    def _may_go_elsewhere(self, error: RouterError) -> bool:
        fallback = self._settings.pd_fallback
        why = error.message.partition(". ")[0]
        return may_go_elsewhere(error, fallback=fallback, silent=len(self._silent)) and self._go_elsewhere(why)

    def leave(self) -> bool:
        """Go elsewhere instead of waiting for the pool of the open leg; whether that is possible."""
        return self._settings.pd_fallback and self._go_elsewhere("no pair is left", is_paid=True)

    def _go_elsewhere(self, why: str, *, is_paid: bool = False) -> bool:
        """Have the whole request done by one worker that was not tried, if there is one and attempts are left."""
        forwarder = self._forwarder
        request = self._request
        whole = self._attempts(request)
        self._drop_decode("the whole request went to one worker")
        whole.tried = [*self._decode.tried, *(self._prefill.tried if self._prefill is not None else ())]
        is_retry = bool(self.tries) and not is_paid
        is_allowed = self._failures < self._settings.max_attempts and forwarder.budget.has_token(forwarder.loop.time())
        if (is_retry and not is_allowed) or not whole.finds_somebody():
            return False
        if is_retry:
            forwarder.budget.take()
            forwarder.accounting.retries["pd-fallback"] += 1
        forwarder.accounting.disaggregated["one-worker"] += 1
        self._drop_prefill()
        self._handing.hand_over(None)
        self._open = whole
        whole.next()
        note(self.tries, f"one worker does it all: {why}")
        return True

    @property
    def _settings(self) -> Settings:
        return self._forwarder.fleet.view.settings
