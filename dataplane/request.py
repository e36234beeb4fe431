"""One request, from its body to its account: a state machine that callbacks move.

    receiving [-> queued (admission/)] -> attempts (attempts.py) -> ended

From every phase it can go to `ended` at once, because the client left, time is up, or the plane ends:
`Request.interrupt`. However it ends, it ends in `Request._end`, the one place that gives back what the
request held and accounts for it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from dataplane.accounting import AbortedBy
from dataplane.admission.ticket import State, Ticket
from dataplane.attempts import Attempts
from dataplane.client import Client
from dataplane.compose import compose
from dataplane.exchange import Exchange
from dataplane.intake import take_in
from dataplane.leftovers import leave_behind
from dataplane.leg import Message, WholeRequest
from dataplane.model_routes import Taken
from dataplane.pd.connector import Connector
from dataplane.pd.connectors import connector_of
from dataplane.pd.eligible import can_be_disaggregated
from dataplane.pd.transaction import Disaggregated
from dataplane.policies import Policy
from dataplane.preparing import Preparing, prepare
from dataplane.subsets import Served
from dataplane.take_arm import leave_arm
from dataplane.timeouts import Phase, Place, Progress, stall_of
from shared.errors import (
    RouterError,
    body_timeout,
    error_event,
    internal,
    no_worker,
    worker_timeout,
)

if TYPE_CHECKING:
    from dataplane.fleet_view import FleetView
    from dataplane.forward import Forwarder
    from dataplane.slot import Slot

logger = logging.getLogger(__name__)

Interruption = Literal["client", "timeout", "shutdown"]
_NOTHING: Mapping[type[Policy], object] = MappingProxyType({})


class Request(WholeRequest):
    """One request on its way. It is the `RequestView` of the policies, and the `Leg` of attempts at all of it."""

    exchange_type: type[Exchange] = Exchange

    __slots__ = (
        "_attempts",
        "_ended",
        "_forwarder",
        "_message",
        "_progress",
        "arm",
        "arrived",
        "body",
        "client",
        "id",
        "may_ask_for_load",
        "model",
        "preparations",
        "prepared",
        "rank",
        "served",
        "ticket",
        "to_first",
        "trace",
        "wanted",
    )

    def __init__(self, forwarder: Forwarder, client: Client, request_id: bytes, *, to_first: bool = False) -> None:
        self._forwarder = forwarder
        self.client = client
        self.id = request_id
        self.to_first = to_first
        self.wanted = ""
        """The response that only the worker which made it knows of."""
        self.arrived = forwarder.loop.time()
        self.body: bytes | bytearray = b""
        self.prepared: object = None
        self.preparations: Mapping[type[Policy], object] = _NOTHING
        self.model: str | None = None
        """What the body names, or what that stands for."""
        self._progress: Progress | None = None
        self._attempts: Attempts | Disaggregated | None = None
        self._message: Message | None = None
        self._ended = False
        self.may_ask_for_load = False
        self.rank: int | None = None
        # What candidates are looked up by: the model, or what the arm has of its workers.
        self.served: Served | None = None
        self.arm: Taken | None = None
        self.trace = forwarder.tracing.begin(client.fields, self.arrived) if forwarder.tracing.is_on else None
        self.ticket: Ticket | None = None

    # --- what a policy sees ----------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """The target's path."""
        return self.client.path

    @property
    def fields(self) -> Mapping[bytes, bytes]:
        """The head's fields by their names in lower case."""
        return self.client.fields

    @property
    def retried_as(self) -> str:
        """The method by whose rules it is retried: what needs no engine may be sent again like a GET."""
        client = self.client
        return "GET" if client.route.is_computed else client.method

    def prepare_for(self, policy: Policy) -> None:
        """Let `prepared` be what this policy's preparation came to."""
        self.prepared = self.preparations.get(type(policy))

    # --- receiving -------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Read the body."""
        limit = self._forwarder.fleet.view.settings.max_payload_size
        try:
            self.client.read_body(limit, self._received, self._client_left)
        except RouterError as error:
            self.refuse(error)

    def _received(self, body: bytes | bytearray) -> None:
        try:
            view = self._forwarder.fleet.view
            take_in(self._forwarder, view, self, body)
            admission = self._forwarder.admission
            if admission is None or not self._counts or admission.enter(self):
                self._dispatch(view)
            self._forwarder.watch_soon(self)
        except RouterError as error:
            self.refuse(error)
        except Exception:
            self._failed()

    @property
    def is_at_work(self) -> bool:
        """Whether limits hold for it and it has gone on."""
        return self._attempts is not None and self._counts

    @property
    def _counts(self) -> bool:
        """Whether it makes work for an engine, so that limits hold for it."""
        client = self.client
        return client.method == "POST" and (not self.to_first or client.route.generates)

    @property
    def takes_tokens(self) -> bool:
        """Whether an engine works for it. Any other answer's `usage` repeats what another request took."""
        return self._counts and not self.client.route.is_computed

    def admitted(self) -> None:
        """Go on: the request has waited for its turn, and its arm's workers may have left meanwhile."""
        try:
            if self.arm is not None and leave_arm(self._forwarder, self):
                self._message = None
            if self._attempts is None:
                self._dispatch(self._forwarder.fleet.view)
            else:
                self._attempts.next()
        except RouterError as error:
            self.refuse(error)
        except Exception:
            self._failed()

    def take_back(self) -> bool:
        """Take the request back from its worker, to wait again; False where its answer may have begun."""
        attempts = self._attempts
        if not isinstance(attempts, Attempts) or not self.client.route.generates:
            return False
        if self._place().phase not in (Phase.CONNECTING, Phase.WAITING):
            return False
        if not attempts.withdraw("taken back: one of a better class waited"):
            return False
        self._forwarder.accounting.retries["preempted"] += 1
        return True

    def _dispatch(self, view: FleetView) -> None:
        """Begin with the attempts. Raises RouterError."""
        attempts = self._attempts = self._attempts_in(view) if view.pools else Attempts(self, self, self._forwarder)
        preparing = None
        if view.prepares:
            preparing = prepare(view, self, disaggregated=isinstance(attempts, Disaggregated))
        if preparing is None:
            attempts.next()
        else:
            preparing.done.add_done_callback(lambda _: self._was_prepared(preparing))

    def _attempts_in(self, view: FleetView) -> Attempts | Disaggregated:
        if (connector := self._connector(view)) is not None:
            return Disaggregated(self, self._forwarder, connector)
        return Attempts(self, self, self._forwarder)

    def _connector(self, view: FleetView) -> Connector | None:
        """Return by whose rules two workers do it; None if one does all of it."""
        connector, client = connector_of(view.settings.kv_connector), self.client
        several = connector.takes_several
        can_be = can_be_disaggregated(client.method, client.path, self.body, several=several)
        return connector if can_be else None

    def has_halves(self) -> bool:
        """Whether two workers do it where there are prefill and decode workers."""
        return self._connector(self._forwarder.fleet.view) is not None

    def _was_prepared(self, preparing: Preparing) -> None:
        if self._ended or self._attempts is None:
            return
        try:
            self.preparations = preparing.results()
            self._attempts.next()
        except RouterError as error:
            self.refuse(error)
        except Exception:
            self._failed()

    def _failed(self) -> None:
        logger.exception("request %s", self.id.decode("latin-1"))
        self.refuse(internal())

    def message(self, slot: Slot) -> Message:
        """Return the request as it is, the same for each worker."""
        if self._message is None:
            self._message = compose(self, self._forwarder.fleet, self.body)
        return self._message

    def leave(self) -> bool:
        """Go on with another arm of the model's name, where no worker of this one can be reached; whether it does."""
        if self.arm is None or self._attempts is None or not leave_arm(self._forwarder, self):
            return False
        self._message, self.preparations = None, _NOTHING
        try:
            self._attempts.next()
        except RouterError as error:
            self.refuse(error)
        return True

    def reroute(self) -> None:
        """Choose again at once if the worker that the request waits for has left."""
        if self._attempts is not None:
            self._attempts.reroute()

    # --- time ------------------------------------------------------------------------------------------

    def _place(self) -> Place:
        if self.ticket is not None and self.ticket.state is State.WAITING:
            return Place(Phase.QUEUED, 0)
        if self._attempts is None:
            return Place(Phase.RECEIVING, self.client.received)
        return self._attempts.place()

    def standing(self) -> tuple[Phase, tuple[str, ...], float | None]:
        """Return the request's phase, the worker of each attempt, and when the answer's first part came."""
        phase, attempts = self._place().phase, self._attempts
        if attempts is None:
            return phase, (), None
        exchange = attempts.exchange if phase in (Phase.ANSWERING, Phase.BLOCKED) else None
        first_byte = exchange.first_byte_at if exchange is not None else 0.0
        return phase, tuple(one.worker for one in attempts.tries), first_byte or None

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
        if self._progress is None:
            self._progress = Progress(self.arrived)
        match self._progress.overdue(self._place(), now, settings):
            case Phase.RECEIVING:
                self.refuse(body_timeout(settings.client_body_timeout))
            case Phase.FETCHING if isinstance(self._attempts, Disaggregated) and self._attempts.begin_anew():
                pass
            case (Phase.PREFILLING | Phase.FETCHING | Phase.WAITING | Phase.ANSWERING) as phase:
                self._stalled(stall_of(phase, settings))
            case Phase.BLOCKED:
                # Nothing more can be said to a client that takes nothing: its connection is cut.
                self._forwarder.accounting.errors[("client", "write_timeout")] += 1
                self._cut_off()
                self._end("client")

    def _cut_off(self) -> None:
        if (peer := self.client.peer) is not None:
            self._forwarder.cut_off(peer)

    def _stalled(self, error: RouterError) -> None:
        if self._attempts is not None:
            self._attempts.stalled()
        self._break_off(error, "worker")

    # --- ends ------------------------------------------------------------------------------------------

    def interrupt(self, by: Interruption) -> None:
        """End the request now, in whatever phase it is; the worker's connection is closed at once."""
        if self._ended:
            return
        attempts = self._attempts
        if by == "client":
            has_all = attempts is not None and attempts.let_finish()
            self._end(None if has_all else "client")
            return
        settings = self._forwarder.fleet.view.settings
        if attempts is not None:
            attempts.tell("the request's time is up" if by == "timeout" else "the plane ends", gave_up=True)
        if by == "timeout":
            error = self._too_late(settings.request_timeout)
        else:
            error = no_worker("The router is stopping.", blamed="router")
        self._break_off(error, by)

    def _too_late(self, longest: float) -> RouterError:
        admission = self._forwarder.admission
        if admission is not None and self.ticket is not None and self.ticket.state is State.WAITING:
            return admission.late_error(self.ticket)
        return worker_timeout(longest)

    def _client_left(self) -> None:
        self.interrupt("client")

    def answered(self) -> None:
        """End the request: its client got a worker's whole answer."""
        self._end(None)

    def refuse(self, error: RouterError) -> None:
        """End the request with an error in place of an answer."""
        self._name_worker(error)
        self.client.answer_error(error, self.id)
        self._end(error)

    def truncate(self, error: RouterError, by: AbortedBy) -> None:
        """End the request in mid-answer, visibly: an SSE client gets an error event; nobody gets a clean end."""
        self._name_worker(error)
        exchange = self._attempts.exchange if self._attempts is not None else None
        if exchange is not None and any(
            name == b"content-type" and value.startswith(b"text/event-stream") for name, value in exchange.headers
        ):
            self.client.send(error_event(error, self.id.decode("latin-1"), self.client.route.dialect))
        self._end(by)

    def _break_off(self, error: RouterError, by: AbortedBy) -> None:
        if self.client.started:
            self.truncate(error, by)
        else:
            self.refuse(error)

    def _name_worker(self, error: RouterError) -> None:
        attempts = self._attempts
        if attempts is not None and self._forwarder.fleet.view.settings.expose_worker:
            error.worker = attempts.last_worker

    def _end(self, ended: AbortedBy | RouterError | None) -> None:
        """Give back what is held and account; None means that the client got a worker's whole answer."""
        self._ended = True
        phase = "" if ended is None or isinstance(ended, RouterError) else self._place().phase.value
        client = self.client
        is_unreadable = ended is not None and client.is_unreadable
        forwarder = self._forwarder
        # They refer back to us; taking them out lets both go without the garbage collector.
        attempts, self._attempts = self._attempts, None
        exchange = None
        if attempts is not None:
            exchange = attempts.exchange
            attempts.close()
        client.close()
        forwarder.forget(self)
        tries = attempts.tries if attempts is not None else ()
        leave_behind(forwarder, self, ended, exchange, phase, tries, is_unreadable=is_unreadable)
        if self.ticket is not None:
            forwarder.limits.leave(self.ticket)
