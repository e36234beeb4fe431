"""One request, from its body to its account: a state machine that callbacks move.

    receiving -> [connecting ->] answering -> ended
                      ^              |
                      +-- [pause] <--+   retry.py decides

From every phase it can go to `ended` at once, because the client left, time is up, or the plane ends:
`Request.interrupt`. However it ends, it ends in `Request._end`, the one place that gives back what the
request held and accounts for it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Literal

from dataplane.accounting import AbortedBy
from dataplane.breaker import FAILURE_STATUSES
from dataplane.client import Client, Headers
from dataplane.descriptors import OUT_OF_DESCRIPTORS
from dataplane.exchange import Exchange
from dataplane.failure_log import SAID, why_no_connection
from dataplane.fleet_view import FleetView
from dataplane.peek import KV_TRANSFER, Peek, peek
from dataplane.retry import EVIDENCE, Attempt, Outcome, Step, may_be_sent_again, next_step, retry_after
from dataplane.slot import Slot
from dataplane.splice import without_members
from dataplane.timeouts import Phase, Place, Progress
from dataplane.upstream.connection import UpstreamConnection
from dataplane.upstream.head import field_lines, request_line
from shared.breaker import ProbeNewsKind
from shared.catalog import route_label
from shared.errors import (
    WORKER_HEADER,
    RouterError,
    bad_answer,
    body_timeout,
    error_body,
    internal,
    no_worker,
    out_of_descriptors,
    payload_too_large,
    unreachable,
    unreadable_body,
    worker_stalled,
    worker_timeout,
)
from shared.messages import EvidenceKind

if TYPE_CHECKING:
    from dataplane.forward import Forwarder

logger = logging.getLogger(__name__)

Interruption = Literal["client", "timeout", "shutdown"]


class Request:
    """One request on its way. A policy sees its `model`."""

    __slots__ = (
        "_body",
        "_connecting",
        "_ended",
        "_exchange",
        "_fields",
        "_forwarder",
        "_line",
        "_number",
        "_pause",
        "_peek",
        "_probing",
        "_progress",
        "_received_all",
        "_silent",
        "_slot",
        "_tried",
        "_waited",
        "arrived",
        "client",
        "id",
    )

    def __init__(self, forwarder: Forwarder, client: Client, request_id: bytes) -> None:
        self._forwarder = forwarder
        self.client = client
        self.id = request_id
        self.arrived = forwarder.loop.time()
        self._received_all = False
        self._progress = Progress(self.arrived)
        self._peek = Peek()
        self._body: bytes | bytearray = b""
        self._line = b""
        self._fields = b""
        self._tried: list[Slot] = []
        self._silent: list[Slot] = []
        self._number = 0
        self._waited = 0.0
        self._pause: asyncio.TimerHandle | None = None
        self._slot: Slot | None = None
        self._connecting: asyncio.Task[UpstreamConnection] | None = None
        self._exchange: Exchange | None = None
        self._probing = False
        self._ended = False

    @property
    def model(self) -> str | None:
        """The model that the body names."""
        return self._peek.model

    # --- receiving -------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Read the body."""
        limit = self._forwarder.fleet.view.settings.max_payload_size
        try:
            self.client.read_body(limit, self._received, self._client_left)
        except RouterError as error:
            self._refuse(error)

    def _received(self, body: bytes | bytearray) -> None:
        self._received_all = True
        try:
            limit = self._forwarder.fleet.view.settings.max_payload_size
            if len(body) > limit:
                raise payload_too_large(limit)
            client = self.client
            scope = client.scope
            self._body = body
            self._peek = peek(body)
            if self._peek.hands_over and not self._forwarder.fleet.view.settings.trust_kv_transfer_params:
                try:
                    body = self._body = without_members(body, KV_TRANSFER)
                except (ValueError, RecursionError):
                    raise unreadable_body() from None
            self._line = request_line(client.method, scope["raw_path"], scope["query_string"])
            self._fields = field_lines(client.headers, self.id, client.method, len(body))
            self._to_another_worker()
            self._forwarder.watch_soon(self)
        except RouterError as error:
            self._refuse(error)
        except Exception:
            logger.exception("request %s", self.id.decode("latin-1"))
            self._refuse(internal())

    # --- connecting and answering ----------------------------------------------------------------------

    def _to_another_worker(self) -> None:
        """Choose by the newest table among those that were not tried. Raises RouterError when there is nobody."""
        view = self._forwarder.fleet.view
        slot = self._forwarder.take_probe(self.model, self._tried) if view.recovering else None
        if slot is not None:
            self._probing = True
        else:
            candidates = self._candidates(view)
            if not candidates:
                raise view.refusal(self.model)
            slot = view.policy.pick(candidates, self)
        self._tried.append(slot)
        self._hold(slot)
        connection = slot.pool.take()
        if connection is None:
            self._connect(slot)
        else:
            self._send(slot, connection)

    def _candidates(self, view: FleetView) -> tuple[Slot, ...]:
        candidates = view.candidates(self.model)
        if self._tried:
            candidates = tuple(slot for slot in candidates if slot not in self._tried)
        return self._forwarder.fleet.avoidance.preferred(candidates, self._forwarder.loop.time())

    def _hold(self, slot: Slot) -> None:
        self._forwarder.accounting.worker_requests[slot.id] += 1
        slot.inflight += 1
        self._slot = slot
        self._number += 1

    def _let_go(self) -> None:
        if self._probing:
            self._probe_ended("no-verdict")
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.inflight -= 1

    def _blame(self, slot: Slot, kind: EvidenceKind) -> None:
        if self._probing:
            self._probe_ended("no-verdict" if kind == "no-address" else "failed")
        self._forwarder.blame(slot, kind)

    def _probe_ended(self, news: ProbeNewsKind) -> None:
        self._probing = False
        if self._slot is not None:
            self._forwarder.probed(self._slot, news)

    def _connect(self, slot: Slot) -> None:
        timeout = self._forwarder.fleet.view.settings.connect_timeout
        self._connecting = self._forwarder.loop.create_task(slot.pool.connect(timeout))
        self._connecting.add_done_callback(self._connected)

    def reroute(self) -> None:
        """Choose again at once if the worker that the request waits for has left."""
        connecting = self._connecting
        if self._ended or connecting is None or self._slot is None or not self._slot.has_left:
            return
        self._connecting = None
        connecting.cancel()
        # Nothing was asked of it, so this was no attempt.
        self._number -= 1
        self._let_go()
        self._choose_again()

    def _connected(self, task: asyncio.Task[UpstreamConnection]) -> None:
        is_current = task is self._connecting
        if is_current:
            self._connecting = None
        if task.cancelled():
            return
        error = task.exception()
        if self._ended or not is_current:
            # The connection came in the moment in which the request ended, or went to another worker.
            if error is None:
                task.result().abort()
            return
        slot = self._slot
        if error is None and slot is not None:
            self._send(slot, task.result())
            return
        if isinstance(error, OSError) and error.errno in OUT_OF_DESCRIPTORS:
            # Ours, not the worker's: another one could not be reached either.
            self._tell("not asked: this plane has no file descriptor left", gave_up=True)
            self._refuse(out_of_descriptors())
            return
        if not isinstance(error, OSError):
            logger.error("connecting to a worker failed unexpectedly", exc_info=error)
        kind: EvidenceKind = "no-address" if isinstance(error, socket.gaierror) else "connect-failed"
        self._attempt_ended(Outcome.CONNECT_FAILED, why_no_connection(error), kind)

    def _send(self, slot: Slot, connection: UpstreamConnection) -> None:
        exchange = Exchange(self.client, self.id, self._forwarder.loop, self._answer_begins, self._attempt_ended)
        self._exchange = exchange
        exchange.send(connection, b"%b%b\r\n%b" % (self._line, slot.authority, self._fields), self._body)

    def _answer_begins(self, status: int, headers: Headers) -> bool:
        """Look at an answer before the client sees it; False when another attempt is made instead."""
        slot = self._slot
        if slot is not None:
            self._forwarder.fleet.avoidance.reached(slot)
            if self._forwarder.fleet.view.settings.expose_worker:
                headers[:] = [field for field in headers if field[0] != WORKER_HEADER]
                headers.append((WORKER_HEADER, slot.id.encode()))
            if status >= 500:
                self._judge(slot, status, headers)
        if not may_be_sent_again(status, self.client.method):
            if status >= 500:
                self._tell(f"status {status}", gave_up=True)
            return True
        asked = max((retry_after(value) for name, value in headers if name == b"retry-after"), default=0.0)
        step, wait = self._next_step(Outcome.STATUS, status=status, asked=asked)
        self._tell(f"status {status}", gave_up=step is Step.GIVE_UP)
        if step is Step.GIVE_UP:
            return True
        # Closing the connection makes sure that the worker is done with this attempt.
        self._abandon_attempt()
        self._again(step, wait, f"status-{status}")
        return False

    def _judge(self, slot: Slot, status: int, headers: Headers) -> None:
        """Hold an error against its worker, unless it says that it is busy, or that it can not do such a thing."""
        busy = status == 503 and any(name == b"retry-after" for name, _ in headers)
        if status in FAILURE_STATUSES and not busy:
            self._blame(slot, "error-status")
        elif self._probing:
            self._probe_ended("no-verdict")

    def _attempt_ended(self, outcome: Outcome, why: str = "", evidence: EvidenceKind | None = None) -> None:
        if outcome is Outcome.COMPLETE:
            if self._probing:
                self._probe_ended("passed")
            self._end(None)
            return
        slot = self._slot
        assert slot is not None  # noqa: S101 - held since the attempt began
        if outcome in (Outcome.NOTHING_RECEIVED, Outcome.HELD) and slot not in self._silent:
            self._silent.append(slot)
        step, wait = self._next_step(outcome)
        if step is Step.SAME_WORKER:
            self._tell("closed a kept connection without an answer", gave_up=False)
        else:
            self._blame(slot, evidence or EVIDENCE[outcome])
            if outcome in (Outcome.CONNECT_FAILED, Outcome.NOTHING_RECEIVED, Outcome.HELD):
                self._forwarder.fleet.avoidance.failed(slot, self._forwarder.loop.time())
            why = why or (self._exchange.reason if self._exchange is not None else "")
            self._tell(f"{SAID[outcome]} ({why})", gave_up=step is Step.GIVE_UP)
        if step is Step.GIVE_UP:
            self._give_up(outcome)
            return
        self._abandon_attempt()
        self._again(step, wait, outcome.value)

    def _tell(self, what: str, *, gave_up: bool) -> None:
        """Log a failure of the worker at hand; one that the client does not notice is worth less."""
        slot = self._slot
        level = logging.WARNING if gave_up else logging.INFO
        text = what if gave_up else f"{what}; another attempt follows"
        forwarder = self._forwarder
        forwarder.failures.tell(forwarder.loop.time(), level, self.id, slot.id if slot is not None else "", text)

    def _next_step(self, outcome: Outcome, *, status: int = 0, asked: float = 0.0) -> tuple[Step, float]:
        """Return what to do after a failed attempt, and the pause before it if there is one."""
        forwarder = self._forwarder
        view = forwarder.fleet.view
        wait = max(forwarder.pause_after(self._number), asked)
        attempt = Attempt(
            outcome,
            self.client.method,
            self._number,
            status=status,
            reused=self._exchange is not None and self._exchange.reused,
            others_left=bool(self._candidates(view)),
            budget_left=forwarder.budget.has_token(forwarder.loop.time()),
            wait=wait,
            waited=self._waited,
            silent=len(self._silent),
        )
        return next_step(attempt, max_attempts=view.settings.max_attempts), wait

    def _again(self, step: Step, wait: float, cause: str) -> None:
        """Make another attempt."""
        self._forwarder.accounting.retries[cause] += 1
        if step is Step.SAME_WORKER:
            # The attempt was none: the worker had closed before.
            self._number -= 1
        if step is Step.SAME_WORKER and not self._tried[-1].has_left:
            slot = self._tried[-1]
            self._hold(slot)
            self._connect(slot)
            return
        if step is not Step.SAME_WORKER:
            self._forwarder.budget.take()
        if step is Step.ANY_WORKER_LATER:
            self._waited += wait
            self._pause = self._forwarder.loop.call_later(wait, self._after_pause)
        else:
            self._choose_again()

    def _after_pause(self) -> None:
        self._pause = None
        # Everybody was tried: begin anew, but not with the one that failed last if there is another.
        self._tried = self._tried[-1:]
        if not self._candidates(self._forwarder.fleet.view):
            self._tried = []
        self._choose_again()

    def _choose_again(self) -> None:
        try:
            self._to_another_worker()
        except RouterError as error:
            self._refuse(error)

    def _abandon_attempt(self) -> None:
        # The exchange refers back to us; taking it out lets both go without the garbage collector.
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()
        self._let_go()

    # --- ends ------------------------------------------------------------------------------------------

    def _give_up(self, outcome: Outcome) -> None:
        if outcome is Outcome.TRUNCATED:
            self._truncate(bad_answer("broke off"))
            self._end("worker")
        elif outcome in (Outcome.BROKEN, Outcome.HELD) and self._exchange is not None:
            self._refuse(bad_answer(self._exchange.reason))
        else:
            self._refuse(unreachable(self._number))

    def _client_left(self) -> None:
        self.interrupt("client")

    def _place(self) -> Place:
        if not self._received_all:
            return Place(Phase.RECEIVING, self.client.received)
        if self._exchange is None:
            return Place(Phase.CONNECTING, self._number)
        return self._exchange.place()

    def check(self, now: float) -> None:
        """End the request if its time is up, in whole or in the phase that it is in; see `timeouts.py`."""
        settings = self._forwarder.fleet.view.settings
        if self._ended:
            return
        if now - self.arrived >= settings.request_timeout:
            if self._place().phase is Phase.BLOCKED:
                self._cut_off()
            self.interrupt("timeout")
            return
        match self._progress.overdue(self._place(), now, settings):
            case Phase.RECEIVING:
                self._refuse(body_timeout(settings.client_body_timeout))
            case Phase.WAITING:
                limit = settings.response_header_timeout
                self._stalled(worker_stalled("did not begin", limit, "--response-header-timeout-secs"))
            case Phase.ANSWERING:
                self._stalled(worker_stalled("stood still", settings.stream_idle_timeout, "--stream-idle-timeout-secs"))
            case Phase.BLOCKED:
                # Nothing more can be said to a client that takes nothing: its connection is cut.
                self._forwarder.accounting.errors[("client", "write_timeout")] += 1
                self._cut_off()
                self._end("client")

    def _cut_off(self) -> None:
        if (peer := self.client.peer) is not None:
            self._forwarder.cut_off(peer)

    def _stalled(self, error: RouterError) -> None:
        slot = self._slot
        if slot is not None:
            self._blame(slot, "stalled")
        self._tell("the answer stands still", gave_up=True)
        if self.client.started:
            self._truncate(error)
            self._end("worker")
        else:
            self._refuse(error)

    def interrupt(self, by: Interruption) -> None:
        """End the request now, in whatever phase it is; the worker's connection is closed at once."""
        if self._ended:
            return
        if by == "client":
            has_all = self._exchange is not None and self._exchange.let_finish()
            self._end(None if has_all else "client")
            return
        settings = self._forwarder.fleet.view.settings
        self._tell("the request's time is up" if by == "timeout" else "the plane ends", gave_up=True)
        if by == "timeout":
            error = worker_timeout(settings.request_timeout)
        else:
            error = no_worker("The router is stopping.", blamed="router")
        if not self.client.started:
            self._refuse(error)
            return
        self._truncate(error)
        self._end(by)

    def _name_worker(self, error: RouterError) -> None:
        if self._tried and self._forwarder.fleet.view.settings.expose_worker:
            error.worker = self._tried[-1].id

    def _truncate(self, error: RouterError) -> None:
        """Make a break visible: an SSE client gets an error event; nobody gets a clean end of the body."""
        self._name_worker(error)
        exchange = self._exchange
        if exchange is not None and any(
            name == b"content-type" and value.startswith(b"text/event-stream") for name, value in exchange.headers
        ):
            self.client.send(b"data: %b\n\n" % error_body(error, self.id.decode("latin-1")), more=True)

    def _refuse(self, error: RouterError) -> None:
        self._name_worker(error)
        self.client.answer_error(error, self.id)
        self._end(error)

    def _end(self, ended: AbortedBy | RouterError | None) -> None:
        """Give back what is held and account; None means that the client got a worker's whole answer."""
        self._ended = True
        client = self.client
        forwarder = self._forwarder
        exchange = self._exchange
        self._abandon_attempt()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._pause is not None:
            self._pause.cancel()
        client.close()
        forwarder.forget(self)
        accounting = forwarder.accounting
        if ended is None and exchange is not None:
            accounting.finish(
                route_label(client.path),
                client.method,
                exchange.status,
                forwarder.loop.time() - self.arrived,
                exchange.first_byte_at - self.arrived,
            )
        elif isinstance(ended, RouterError):
            accounting.reject(route_label(client.path), client.method, ended)
        elif ended is not None:
            accounting.abort(ended)
