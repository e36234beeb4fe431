"""A request's attempts, one worker after the other, until one of them answers or `retry.py` says to give up.

    [connecting ->] answering -> over
          ^             |
          +-- [pause] <-+

What a failure says about its worker is told here, too: to the avoidance, the breaker, the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dataplane.admission.turn import Turn
from dataplane.candidates import candidates_of
from dataplane.choosing import AllAreFull, choice
from dataplane.client import Headers
from dataplane.descriptors import OUT_OF_DESCRIPTORS
from dataplane.dial import Dial
from dataplane.exchange import Exchange
from dataplane.failure_log import SAID, no_connection
from dataplane.fleet_view import FleetView
from dataplane.held import Held
from dataplane.leg import Leg, Message
from dataplane.load_header import ASKING
from dataplane.receipts import Try
from dataplane.retry import EVIDENCE, Attempt, Outcome, Step, may_be_sent_again, retry_after
from dataplane.slot import Slot
from dataplane.timeouts import Phase, Place
from dataplane.upstream.connection import UpstreamConnection
from shared.errors import RouterError, bad_answer, out_of_descriptors, unreachable
from shared.messages import EvidenceKind

if TYPE_CHECKING:
    from dataplane.forward import Forwarder
    from dataplane.request import Request


class Attempts:
    """Those of one request. Tells the request once how it all ended, unless the request closes it before."""

    __slots__ = (
        "_asks",
        "_forwarder",
        "_held",
        "_is_over",
        "_leg",
        "_message",
        "_number",
        "_pending",
        "_request",
        "_try",
        "_waited",
        "exchange",
        "is_sent",
        "silent",
        "tried",
        "tries",
    )

    def __init__(self, request: Request, leg: Leg, forwarder: Forwarder, number: int = 0) -> None:
        """Begin after `number` attempts for another leg; `is_sent`: what is sent may have reached a worker."""
        self._request = request
        self._leg = leg
        self._forwarder = forwarder
        self._message: Message | None = None
        self.is_sent = False
        self.tried: list[Slot] = []
        self.silent: list[Slot] = []
        self._number = number
        self._waited = 0.0
        # The connection that is being made, the pause before another attempt, or the wait for a worker's slot.
        self._pending: Dial | asyncio.TimerHandle | Turn | None = None
        self._held: Held | None = None
        self._asks = False
        self._is_over = False
        self.exchange: Exchange | None = None
        self.tries: list[Try] = []
        self._try: Try | None = None

    @property
    def last_worker(self) -> str | None:
        """The id of the worker that was tried last."""
        return self.tried[-1].id if self.tried else None

    def place(self) -> Place:
        """Return how far the attempt at hand has come."""
        if self.exchange is not None:
            return self.exchange.place()
        return Place(Phase.QUEUED if type(self._pending) is Turn else Phase.CONNECTING, self._number)

    def let_finish(self) -> bool:
        """Let the attempt at hand end by itself if its client has got the last event; whether it has."""
        if self.exchange is None or not self.exchange.let_finish():
            return False
        if self._held is not None:
            self._held.complete(self.exchange)
        return True

    def close(self) -> None:
        """Give back what is held, in whatever phase; the worker's connection is closed at once."""
        self._is_over = True
        self._abandon()
        self._stop()

    def stalled(self, what: str = "the answer stands still", *, gave_up: bool = True) -> None:
        """Know that the answer has stood still for too long."""
        if self._held is not None:
            self._held.blame("stalled")
        self.tell(what, gave_up=gave_up)

    def forsake(self) -> None:
        """Know the same, and let the worker go: another attempt follows."""
        self.stalled("nothing of the answer came", gave_up=False)
        self._stop()
        self._abandon()

    def tell(self, what: str, *, gave_up: bool) -> None:
        """Log a failure of the worker at hand; one that the client does not notice is worth less."""
        level, text = (logging.WARNING, what) if gave_up else (logging.INFO, f"{what}; another attempt follows")
        worker = self._held.slot.id if self._held is not None else ""
        if self._try is not None:
            self._try.failed = what
        self._forwarder.failures.tell(self._forwarder.loop.time(), level, self._request.id, worker, text)

    # --- choosing --------------------------------------------------------------------------------------

    def next(self) -> None:
        """Choose by the newest table among those that were not tried, and ask, or wait. Raises RouterError."""
        try:
            self.choose()
            self.ask()
        except AllAreFull as full:
            limits = self._forwarder.limits
            self._pending = limits.wait_again(self._request, full, self._choose_again, self._leg.refuse)

    def choose(self) -> Slot:
        """Choose and hold a worker, which `ask` asks. Raises RouterError when there is nobody, and AllAreFull."""
        forwarder, view = self._forwarder, self._view()
        now = forwarder.loop.time()
        slot, probing, expected, detail, policy = choice(forwarder, view, self._request, self._left_out(), now)
        if detail is not None:
            detail.unsuited = {**detail.unsuited, **self._leg.why_unsuited()}
        self.tried.append(slot)
        self._hold(slot, Try(slot.id, now, detail, view.pool, policy), probing=probing, expected=expected)
        return slot

    def ask(self) -> None:
        """Ask the worker that was chosen. Raises RouterError when nothing can be sent to it, and AllAreFull."""
        assert self._held is not None  # noqa: S101 - held since it was chosen
        slot = self._held.slot
        try:
            self._message = self._leg.message(slot)
        except (RouterError, AllAreFull) as error:
            self.withdraw(f"not asked: {error}")
            raise
        connection = slot.pool.take()
        if connection is None:
            self._connect(slot)
        else:
            self._send(slot, connection)

    def withdraw(self, why: str) -> bool:
        """Let the worker at hand go, which did not fail: it can be chosen again. Whether there was one."""
        if self._held is None:
            return False
        if self._try is not None:
            self._try.failed = why
            self._try.withdrawn = True
        self.tried.remove(self._held.slot)
        self._number -= 1
        self._stop()
        self._abandon()
        return True

    def finds_somebody(self) -> bool:
        """Whether there is a worker that was not tried."""
        return bool(self._candidates(self._view(), self._forwarder.loop.time()))

    def _view(self) -> FleetView:
        view = self._forwarder.fleet.view
        return view.of(self._leg.pool) if view.pools else view

    def _left_out(self) -> Sequence[Slot]:
        unsuited = self._leg.unsuited()
        return [*self.tried, *unsuited] if unsuited else self.tried

    def _candidates(self, view: FleetView, now: float) -> tuple[Slot, ...]:
        return candidates_of(self._forwarder.fleet, view, self._request, self._left_out(), now)

    def _choose_again(self) -> None:
        self._pending = None
        if self._leg.renews:
            self._leg.renew()
            return
        try:
            self.next()
        except RouterError as error:
            self._leg.refuse(error)

    def reroute(self) -> None:
        """Choose again at once if the worker that the request waits for has left."""
        if self._pending is None or self._held is None or not self._held.slot.has_left:
            return
        # Nothing was asked of it, so this was no attempt.
        self.withdraw("left before the request was sent to it")
        self._choose_again()

    # --- one attempt -----------------------------------------------------------------------------------

    def _hold(self, slot: Slot, attempt: Try, *, probing: bool = False, expected: int = 0) -> None:
        self._try = attempt
        self.tries.append(attempt)
        if self._request.trace is not None:
            attempt.span = self._request.trace.attempt()
        held = self._held = Held(self._forwarder, self._leg, slot, probing=probing, expected=expected)
        if (ticket := self._request.ticket) is not None and ticket.among is not None:
            held.take_slot(ticket)
        self._number += 1

    def _connect(self, slot: Slot) -> None:
        forwarder = self._forwarder
        self._pending = Dial(forwarder.loop, slot.pool, forwarder.fleet.view.settings.connect_timeout, self._connected)

    def _connected(self, connection: UpstreamConnection | None, error: BaseException | None) -> None:
        self._pending = None
        if connection is not None and self._held is not None:
            self._forwarder.accounting.connect.observe(self._forwarder.loop.time() - self.tries[-1].began)
            self._send(self._held.slot, connection)
            return
        if isinstance(error, OSError) and error.errno in OUT_OF_DESCRIPTORS:
            # Ours, not the worker's: another one could not be reached either.
            self.tell("not asked: this plane has no file descriptor left", gave_up=True)
            self._leg.refuse(out_of_descriptors())
            return
        self._attempt_ended(Outcome.CONNECT_FAILED, *no_connection(error))

    def _send(self, slot: Slot, connection: UpstreamConnection) -> None:
        request = self._request
        taker, loop = self._leg.client, self._forwarder.loop
        exchange = request.exchange_type(taker, request.id, loop, self._answer_begins, self._attempt_ended)
        self.exchange = exchange
        self.is_sent = True
        if self._held is not None and self._held.expected:
            exchange.on_first_part = self._computed
        exchange.holds_preamble = self._leg.pool == "decode"
        self._asks = request.may_ask_for_load and slot.asks_for_load(loop.time())
        asking = ASKING if self._asks else b""
        if self._try is not None and self._try.span is not None:
            asking += self._try.span.line
        assert self._message is not None  # noqa: S101 - made when the worker was chosen
        line, fields, body = self._message
        exchange.send(connection, b"".join((line, slot.own_lines, asking, fields)), body)
        if self.exchange is exchange:
            self._leg.sent()

    def _computed(self) -> None:
        if self._held is not None and self.exchange is not None:
            self._held.computed(self.exchange.status)

    def _answer_begins(self, status: int, headers: Headers) -> bool:
        """Look at an answer before the client sees it; False when another attempt is made instead."""
        held = self._held
        if held is not None:
            held.answers(status, headers, self.tries, tells_load=self._asks)
        if status < 400 or not may_be_sent_again(status, self._request.retried_as, self._leg.not_run):
            if status >= 500:
                self.tell(f"status {status}", gave_up=True)
            return not (self._request.wanted and status == 404 and self._looks_elsewhere())
        asked = max((retry_after(value) for name, value in headers if name == b"retry-after"), default=0.0)
        step, wait = self._next_step(Outcome.STATUS, status=status, asked=asked)
        self.tell(f"status {status}", gave_up=step is Step.GIVE_UP)
        if step is Step.GIVE_UP:
            return True
        # Closing the connection makes sure that the worker is done with this attempt.
        self._abandon()
        self._again(step, wait, f"status-{status}")
        return False

    def _looks_elsewhere(self) -> bool:
        """Ask the next one for what this worker does not know of; whether there is one."""
        if not self.finds_somebody():
            return False
        if self._try is not None:
            self._try.failed = "does not know that response"
        self._abandon()
        self._choose_again()
        return True

    def _attempt_ended(self, outcome: Outcome, why: str = "", evidence: EvidenceKind | None = None) -> None:
        held = self._held
        assert held is not None  # noqa: S101 - held since the attempt began
        if outcome is Outcome.COMPLETE:
            if self.exchange is not None:
                held.complete(self.exchange)
            if held.probing:
                held.probe_ended("passed")
            self._leg.answered()
            return
        slot = held.slot
        # Whoever held it twice may have died of it twice.
        if outcome is Outcome.HELD or (outcome is Outcome.NOTHING_RECEIVED and slot not in self.silent):
            self.silent.append(slot)
        step, wait = self._next_step(outcome)
        if step is Step.SAME_WORKER:
            self.tell("closed a kept connection without an answer", gave_up=False)
        else:
            held.blame(evidence or EVIDENCE[outcome])
            if outcome in (Outcome.CONNECT_FAILED, Outcome.NOTHING_RECEIVED, Outcome.HELD):
                self._forwarder.fleet.missed(slot)
            why = why or (self.exchange.reason if self.exchange is not None else "")
            self.tell(f"{SAID[outcome]} ({why})", gave_up=step is Step.GIVE_UP)
        if step is Step.GIVE_UP:
            self._give_up(outcome)
            return
        self._abandon()
        self._again(step, wait, outcome.value)

    def _abandon(self) -> None:
        # The exchange refers back to us; taking it out lets both go without the garbage collector.
        exchange, self.exchange = self.exchange, None
        if self._try is not None and self._try.span is not None:
            self._try.span.end(exchange, self._forwarder.loop.time())
        if exchange is not None:
            exchange.abandon()
        held, self._held = self._held, None
        if held is not None:
            held.let_go()

    def _stop(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()

    # --- what comes after it ---------------------------------------------------------------------------

    def _next_step(self, outcome: Outcome, *, status: int = 0, asked: float = 0.0) -> tuple[Step, float]:
        """Return what to do after a failed attempt, and the pause before it if there is one."""
        forwarder = self._forwarder
        now = forwarder.loop.time()
        wait = max(forwarder.pause_after(self._number), asked)
        attempt = Attempt(
            outcome,
            self._request.retried_as,
            self._number,
            status=status,
            reused=self.exchange is not None and self.exchange.reused,
            others_left=bool(self._candidates(self._view(), now)),
            budget_left=forwarder.budget.has_token(now),
            wait=wait,
            waited=self._waited,
            silent=len(self.silent),
            not_run=self._leg.not_run,
            may_be_run_twice=self._leg.may_be_run_twice,
        )
        return forwarder.step_after(attempt), wait

    def _again(self, step: Step, wait: float, cause: str) -> None:
        """Make another attempt."""
        self._leg.broke()
        if self._is_over:
            return
        self._forwarder.accounting.retries[cause] += 1
        if step is Step.SAME_WORKER:
            # The attempt was none: the worker had closed before.
            self._number -= 1
            slot = self.tried[-1]
            if self._leg.renews:
                self.tried.pop()
            elif not slot.has_left and self._try is not None:
                self._hold(slot, self._try.again(self._forwarder.loop.time()))
                self._connect(slot)
                return
        else:
            self._forwarder.budget.take()
        if step is Step.ANY_WORKER_LATER and self._leg.leave():
            return
        if step is Step.ANY_WORKER_LATER:
            self._waited += wait
            self._pending = self._forwarder.loop.call_later(wait, self._after_pause)
        else:
            self._choose_again()

    def _after_pause(self) -> None:
        # Everybody was tried: begin anew, but not with the one that failed last if there is another.
        self.tried = self.tried[-1:]
        if not self.finds_somebody():
            self.tried = []
        self._choose_again()

    def _give_up(self, outcome: Outcome) -> None:
        if outcome is Outcome.TRUNCATED:
            self._leg.truncate(bad_answer("broke off"), "worker")
        elif outcome in (Outcome.BROKEN, Outcome.HELD) and self.exchange is not None:
            self._leg.refuse(bad_answer(self.exchange.reason))
        else:
            self._leg.refuse(unreachable(self._number))
