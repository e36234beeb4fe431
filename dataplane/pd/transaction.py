"""One disaggregated request: attempts at prefill workers, then attempts at decode workers, then it is over.

    prefill -> decode -> over          Each failure goes on, back or out as `handover.py` says;
       ^         |                     out is `whole`: one worker does it all.
       +---------+

To the request it is what `Attempts` are, of which it has those of one leg open at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dataplane.attempts import Attempts
from dataplane.candidates import is_reachable
from dataplane.exchange import Exchange
from dataplane.leg import Leg, Message, Taker
from dataplane.pd.collector import MOST, Collector
from dataplane.pd.connector import Connector, Pairing
from dataplane.pd.handover import AfterPrefill, after_prefill, may_go_elsewhere, must_renew, not_run
from dataplane.receipts import Try
from dataplane.retry import NOT_RUN_STATUSES
from dataplane.slot import Slot
from dataplane.timeouts import Phase, Place
from shared.errors import RouterError, bad_answer, unreadable_body
from shared.table import Settings

if TYPE_CHECKING:
    from dataplane.accounting import AbortedBy
    from dataplane.client import Client
    from dataplane.forward import Forwarder
    from dataplane.request import Request

_ACCEPT_ENCODING = frozenset({b"accept-encoding"})
_PLACES_OF_A_LEG = 1 << 40
"""More than a leg has, so that no place in one is a place in another."""


class Disaggregated:
    """The attempts of one request at two workers."""

    __slots__ = (
        "_connector",
        "_decode",
        "_forwarder",
        "_handoff",
        "_handoff_at",
        "_is_prefilling",
        "_open",
        "_pairing",
        "_request",
        "_silent",
        "tries",
    )

    def __init__(self, request: Request, forwarder: Forwarder, connector: Connector) -> None:
        self._request = request
        self._forwarder = forwarder
        self._connector = connector
        self._silent: list[Slot] = []
        self.tries: list[Try] = []
        self._is_prefilling = False
        # What the prefill worker handed over, None when that can not be used.
        self._handoff: bytes | None = None
        # When the handoff that the decode leg sends was given; None when it sends none.
        self._handoff_at: float | None = None
        self._pairing: Pairing | None = None
        self._decode: Attempts = self._attempts(_DecodeLeg(self, request))
        self._open: Attempts | None = None

    def _attempts(self, leg: Leg) -> Attempts:
        """Return a leg's attempts. They count on from those that failed before, of whatever leg."""
        attempts = Attempts(self._request, leg, self._forwarder, self._failures)
        attempts.tries = self.tries
        attempts.silent = self._silent
        return attempts

    @property
    def _failures(self) -> int:
        return sum(bool(one.failed) for one in self.tries)

    # --- what the request wants of attempts --------------------------------------------------------------

    @property
    def exchange(self) -> Exchange | None:
        """That of the open leg."""
        return self._open.exchange if self._open is not None else None

    @property
    def last_worker(self) -> str | None:
        """The id of the worker that was tried last."""
        return self.tries[-1].worker if self.tries else None

    def next(self) -> None:
        """Begin. Raises RouterError when there is nobody."""
        if self._settings.pd_fallback and not self._has_pair() and self._go_elsewhere():
            return
        error = self._prefill()
        if error is not None and not self._may_go_elsewhere(error):
            raise error

    def reroute(self) -> None:
        """Choose again at once if the worker that the open leg waits for has left."""
        if self._open is not None:
            self._open.reroute()

    def place(self) -> Place:
        """Return how far the open leg has come."""
        if self._is_prefilling or self._open is None:
            return Place(Phase.PREFILLING, len(self.tries))
        phase, mark = self._open.place()
        return Place(phase, mark + _PLACES_OF_A_LEG * len(self.tries))

    def let_finish(self) -> bool:
        """As that of `Attempts`."""
        return self._open is not None and self._open.let_finish()

    def stalled(self) -> None:
        """Know that the open leg has stood still for too long."""
        if self._open is not None:
            self._open.stalled()

    def tell(self, what: str, *, gave_up: bool) -> None:
        """Log a failure of the worker at hand."""
        if self._open is not None:
            self._open.tell(what, gave_up=gave_up)

    def close(self) -> None:
        """Give back what is held; the open leg's connection is closed at once."""
        attempts, self._open = self._open, None
        if attempts is not None:
            attempts.close()
        # It refers back to us; taking it out lets both go without the garbage collector.
        del self._decode

    def _has_pair(self) -> bool:
        fleet = self._forwarder.fleet
        now = self._forwarder.loop.time()
        halves = fleet.view.pools.values()
        return all(is_reachable(fleet, half, self._request.model, now) for half in halves)

    # --- prefill -----------------------------------------------------------------------------------------

    def _prefill(self) -> RouterError | None:
        """Begin a prefill leg, or return why there can be none."""
        request = self._request
        if not self._decode.finds_somebody():
            return self._forwarder.fleet.view.of("decode").refusal(request.model)
        self._open = self._attempts(_PrefillLeg(self, request.client.method))
        self._is_prefilling = True
        try:
            self._open.next()
        except RouterError as error:
            return error
        return None

    def prefill_message(self, slot: Slot) -> Message:
        """Begin a pairing with a prefill worker; return what it is asked. Raises RouterError."""
        request = self._request
        self._pairing = Pairing(request.path, request.body, self._forwarder.pairing_key(), slot.peer)
        try:
            asked = self._connector.prefill(self._pairing)
        except (ValueError, RecursionError):
            raise unreadable_body() from None
        # The answer is for us, who read it as it is.
        return request.compose(asked.body, without=_ACCEPT_ENCODING, fields=asked.fields)

    def prefilled(self, answer: Collector) -> None:
        """Take the prefill worker's answer."""
        step = after_prefill(answer.status, may_fall_back=self._settings.pd_fallback)
        if step is AfterPrefill.DECODE:
            self._begin_decode(self._connector.handoff(answer.body))
        elif step is AfterPrefill.ANSWER or not self._go_elsewhere():
            self._request.client.answer(answer.status, answer.headers, answer.body)
            self._request.answered()

    # --- decode ------------------------------------------------------------------------------------------

    def _begin_decode(self, handoff: bytes | None) -> None:
        self._handoff = handoff
        self._handoff_at = None
        if handoff is not None and self._connector.serves_once:
            self._handoff_at = self._forwarder.loop.time()
        self._forwarder.accounting.disaggregated["recomputed" if handoff is None else "two-workers"] += 1
        self._decode.is_sent = False
        self._switch_to(self._decode)
        try:
            self._decode.next()
        except RouterError as error:
            self.failed(error)

    def decode_message(self, slot: Slot) -> Message:
        """Return what a decode worker is asked. Raises RouterError."""
        request = self._request
        if self._handoff is None or self._pairing is None:
            return request.message(slot)
        try:
            asked = self._connector.decode(self._pairing._replace(decode=slot.peer), self._handoff)
        except (ValueError, RecursionError):
            raise unreadable_body() from None
        return request.compose(asked.body, fields=asked.fields)

    @property
    def must_renew(self) -> bool:
        """Whether the decode leg needs another handoff before it goes on."""
        if self._handoff_at is None:
            return False
        age = self._forwarder.loop.time() - self._handoff_at
        return must_renew(is_sent=self._decode.is_sent, age=age, lease=self._connector.lease)

    @property
    def not_run(self) -> frozenset[int]:
        """Statuses after which the decode leg is tried again."""
        return not_run(hands_over=self._handoff_at is not None, failures=self._failures)

    def renew(self) -> None:
        """Get the decode leg another handoff."""
        if (error := self._prefill()) is not None:
            self.failed(error)

    # --- ways out ----------------------------------------------------------------------------------------

    def failed(self, error: RouterError) -> None:
        """Know that a leg has failed before the client got anything."""
        if not self._may_go_elsewhere(error):
            self._request.refuse(error)

    def _may_go_elsewhere(self, error: RouterError) -> bool:
        fallback = self._settings.pd_fallback
        return may_go_elsewhere(error, fallback=fallback, silent=len(self._silent)) and self._go_elsewhere()

    def leave(self) -> bool:
        """Go elsewhere instead of waiting for the pool of the open leg; whether that is possible."""
        return self._settings.pd_fallback and self._go_elsewhere(is_paid=True)

    def _go_elsewhere(self, *, is_paid: bool = False) -> bool:
        """Have the whole request done by one worker that was not tried, if there is one and attempts are left."""
        forwarder = self._forwarder
        request = self._request
        whole = self._attempts(request)
        whole.tried = [*self._decode.tried, *(self._open.tried if self._open is not None else ())]
        is_retry = bool(self.tries) and not is_paid
        is_allowed = self._failures < self._settings.max_attempts and forwarder.budget.has_token(forwarder.loop.time())
        if (is_retry and not is_allowed) or not whole.finds_somebody():
            return False
        if is_retry:
            forwarder.budget.take()
            forwarder.accounting.retries["pd-fallback"] += 1
        forwarder.accounting.disaggregated["one-worker"] += 1
        self._switch_to(whole)
        whole.next()
        return True

    def _switch_to(self, attempts: Attempts) -> None:
        # A prefill worker holds the request until its answer, not longer.
        if self._open is not None and self._open is not attempts:
            self._open.close()
        self._open = attempts
        self._is_prefilling = False

    @property
    def _settings(self) -> Settings:
        return self._forwarder.fleet.view.settings


class _PrefillLeg(Collector):
    """Takes its answer itself; none of it goes to the client."""

    __slots__ = ("_of",)

    pool: Final = "prefill"
    renews: Final = False
    not_run: Final = NOT_RUN_STATUSES

    def __init__(self, of: Disaggregated, method: str) -> None:
        super().__init__(method)
        self._of = of

    @property
    def client(self) -> Taker:
        """The leg itself."""
        return self

    def message(self, slot: Slot) -> Message:
        """Begin a pairing."""
        return self._of.prefill_message(slot)

    def renew(self) -> None:
        """Do nothing: the order to compute a prompt can be sent again."""

    def leave(self) -> bool:
        """Go elsewhere rather than wait."""
        return self._of.leave()

    def answered(self) -> None:
        """Go on with the answer."""
        self._of.prefilled(self)

    def refuse(self, error: RouterError) -> None:
        """Tell that there is none."""
        self._of.failed(error)

    def truncate(self, error: RouterError, by: AbortedBy) -> None:
        """Tell that there is none: the client saw nothing of it."""
        self._of.failed(error)

    def too_large(self) -> None:
        """Tell that there is none."""
        self._of.failed(bad_answer(f"to the prompt alone is larger than {MOST} bytes"))


class _DecodeLeg:
    """Its answer is the client's."""

    __slots__ = ("_of", "_request")

    pool: Final = "decode"

    def __init__(self, of: Disaggregated, request: Request) -> None:
        self._of = of
        self._request = request

    @property
    def client(self) -> Client:
        """The client."""
        return self._request.client

    def message(self, slot: Slot) -> Message:
        """Return what makes it go on from the prefill."""
        return self._of.decode_message(slot)

    @property
    def not_run(self) -> frozenset[int]:
        """Statuses that say that it was not run."""
        return self._of.not_run

    @property
    def renews(self) -> bool:
        """Whether it takes another prefill first."""
        return self._of.must_renew

    def renew(self) -> None:
        """Begin that."""
        self._of.renew()

    def leave(self) -> bool:
        """Go elsewhere rather than wait."""
        return self._of.leave()

    def answered(self) -> None:
        """End the request."""
        self._request.answered()

    def refuse(self, error: RouterError) -> None:
        """Tell that there is no answer."""
        self._of.failed(error)

    def truncate(self, error: RouterError, by: AbortedBy) -> None:
        """End the request in mid-answer."""
        self._request.truncate(error, by)
