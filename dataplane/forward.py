"""The path of a request: body, choice, attempt, answer, account.

A `Request` is a state machine that callbacks move; its phases are

    receiving -> [connecting ->] answering -> ended
                      ^              |
                      +--- retry ----+

From every phase it can go to `ended` at once, because the client left, time is up, or the plane ends:
`Request.interrupt`. However it ends, it ends in `Request._end`, the one place that gives back what the
request held and accounts for it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Literal

from dataplane.accounting import AbortedBy, Accounting
from dataplane.client import Client
from dataplane.exchange import Exchange
from dataplane.fleet import Fleet, FleetView, Slot
from dataplane.peek import Peek, peek, request_id
from dataplane.retry import Outcome, Step, next_step
from dataplane.upstream.connection import UpstreamConnection
from dataplane.upstream.head import field_lines, request_line
from shared.catalog import route_label
from shared.errors import (
    RouterError,
    bad_answer,
    error_body,
    internal,
    model_not_found,
    no_worker,
    payload_too_large,
    unreachable,
    worker_timeout,
)
from shared.messages import EvidenceKind

logger = logging.getLogger(__name__)

ReportEvidence = Callable[[str, int, EvidenceKind], None]
Interruption = Literal["client", "timeout", "shutdown"]

WATCH_DELAY = 0.02
"""Seconds after which a request's client is watched. Watching costs two thread switches, which requests that
are answered faster can save; one that leaves is noticed at most this much later, within the promised 50 ms."""

_EVIDENCE: dict[Outcome, EvidenceKind] = {
    Outcome.CONNECT_FAILED: "connect-failed",
    Outcome.NOTHING_RECEIVED: "closed-before-answer",
    Outcome.BROKEN: "bad-answer",
    Outcome.TRUNCATED: "bad-answer",
}


class Forwarder:
    """Forwards every request that is not the router's own; knows all that are open."""

    def __init__(self, fleet: Fleet, accounting: Accounting, evidence: ReportEvidence, rng: random.Random) -> None:
        self.fleet = fleet
        self.accounting = accounting
        self.evidence = evidence
        self.loop = asyncio.get_running_loop()
        self._rng = rng
        # In order of arrival, so that the oldest are at the front.
        self._requests: dict[Request, None] = {}
        self._unwatched: list[Request] = []

    def forward(self, client: Client) -> None:
        """Take a request in."""
        request = Request(self, client, self.request_id(client))
        self.accounting.accept()
        self._requests[request] = None
        request.begin()

    def request_id(self, client: Client) -> bytes:
        """Return the id that the client gave, or a new one."""
        return request_id(client.headers, self.fleet.view.request_id_headers, self._rng)

    def forget(self, request: Request) -> None:
        """Know that a request has ended."""
        del self._requests[request]

    def watch_soon(self, request: Request) -> None:
        """Watch the request's client if the request is still open in a moment."""
        if not self._unwatched:
            self.loop.call_later(WATCH_DELAY, self._watch)
        self._unwatched.append(request)

    def _watch(self) -> None:
        requests, self._unwatched = self._unwatched, []
        for request in requests:
            request.client.watch()

    def expire(self) -> None:
        """End requests that are older than the request timeout. Called about once a second."""
        oldest = self.loop.time() - self.fleet.view.settings.request_timeout
        for request in list(self._requests):
            if request.arrived > oldest:
                break
            request.interrupt("timeout")

    def interrupt_all(self) -> None:
        """End every request: the grace time is over."""
        for request in list(self._requests):
            request.interrupt("shutdown")


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
        "_peek",
        "_slot",
        "_tried",
        "arrived",
        "client",
        "id",
    )

    def __init__(self, forwarder: Forwarder, client: Client, request_id: bytes) -> None:
        self._forwarder = forwarder
        self.client = client
        self.id = request_id
        self.arrived = forwarder.loop.time()
        self._peek = Peek()
        self._body = b""
        self._line = b""
        self._fields = b""
        self._tried: list[Slot] = []
        self._slot: Slot | None = None
        self._connecting: asyncio.Task[UpstreamConnection] | None = None
        self._exchange: Exchange | None = None
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

    def _received(self, body: bytes) -> None:
        try:
            limit = self._forwarder.fleet.view.settings.max_payload_size
            if len(body) > limit:
                raise payload_too_large(limit)
            client = self.client
            scope = client.scope
            self._body = body
            self._peek = peek(body)
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
        candidates = self._candidates(view)
        if not candidates:
            raise nobody(view, self.model)
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
            return tuple(slot for slot in candidates if slot not in self._tried)
        return candidates

    def _hold(self, slot: Slot) -> None:
        self._forwarder.accounting.worker_requests[slot.id] += 1
        slot.inflight += 1
        self._slot = slot

    def _let_go(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.inflight -= 1

    def _connect(self, slot: Slot) -> None:
        timeout = self._forwarder.fleet.view.settings.connect_timeout
        self._connecting = self._forwarder.loop.create_task(slot.pool.connect(timeout))
        self._connecting.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[UpstreamConnection]) -> None:
        self._connecting = None
        if task.cancelled():
            return
        error = task.exception()
        if self._ended:
            # The connection came in the moment in which the request ended.
            if error is None:
                task.result().abort()
            return
        slot = self._slot
        if error is None and slot is not None:
            self._send(slot, task.result())
            return
        if not isinstance(error, OSError):
            logger.error("connecting to a worker failed unexpectedly", exc_info=error)
        self._attempt_ended(Outcome.CONNECT_FAILED)

    def _send(self, slot: Slot, connection: UpstreamConnection) -> None:
        exchange = Exchange(self.client, self.id, self._forwarder.loop, self._attempt_ended)
        self._exchange = exchange
        exchange.send(connection, b"%b%b\r\n%b" % (self._line, slot.authority, self._fields), self._body)

    def _attempt_ended(self, outcome: Outcome) -> None:
        if outcome is Outcome.COMPLETE:
            self._end(None)
            return
        slot = self._slot
        assert slot is not None  # noqa: S101 - held since the attempt began
        self._let_go()
        others_left = bool(self._candidates(self._forwarder.fleet.view))
        reused = self._exchange is not None and self._exchange.reused
        step = next_step(outcome, reused=reused, tried=len(self._tried), others_left=others_left)
        if step is not Step.SAME_WORKER:
            self._forwarder.evidence(slot.id, slot.epoch, _EVIDENCE[outcome])
        if step is Step.GIVE_UP:
            self._give_up(outcome)
            return
        self._forwarder.accounting.retries[outcome.value] += 1
        self._exchange = None
        if step is Step.SAME_WORKER:
            self._hold(slot)
            self._connect(slot)
            return
        try:
            self._to_another_worker()
        except RouterError as error:
            self._refuse(error)

    # --- ends ------------------------------------------------------------------------------------------

    def _give_up(self, outcome: Outcome) -> None:
        if outcome is Outcome.TRUNCATED:
            self._truncate(bad_answer("broke off"))
            self._end("worker")
        elif outcome is Outcome.BROKEN and self._exchange is not None:
            self._refuse(bad_answer(self._exchange.reason))
        else:
            self._refuse(unreachable(len(self._tried)))

    def _client_left(self) -> None:
        self.interrupt("client")

    def interrupt(self, by: Interruption) -> None:
        """End the request now, in whatever phase it is; the worker's connection is closed at once."""
        if self._ended:
            return
        if by == "client":
            self._end("client")
            return
        settings = self._forwarder.fleet.view.settings
        error = worker_timeout(settings.request_timeout) if by == "timeout" else no_worker("The router is stopping.")
        if not self.client.started:
            self._refuse(error)
            return
        self._truncate(error)
        self._end(by)

    def _truncate(self, error: RouterError) -> None:
        """Make a break visible: an SSE client gets an error event; nobody gets a clean end of the body."""
        exchange = self._exchange
        if exchange is not None and any(
            name == b"content-type" and value.startswith(b"text/event-stream") for name, value in exchange.headers
        ):
            self.client.send(b"data: %b\n\n" % error_body(error, self.id.decode("latin-1")), more=True)

    def _refuse(self, error: RouterError) -> None:
        self.client.answer_error(error, self.id)
        self._end(error)

    def _end(self, ended: AbortedBy | RouterError | None) -> None:
        """Give back what is held and account; None means that the client got a worker's whole answer."""
        self._ended = True
        client = self.client
        forwarder = self._forwarder
        # The exchange refers back to us; taking it out lets both go without the garbage collector.
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.abandon()
        if self._connecting is not None:
            self._connecting.cancel()
        self._let_go()
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


def nobody(view: FleetView, model: str | None) -> RouterError:
    """Return why no worker can take a request: an unknown model, or nobody ready for it."""
    if model is not None and view.ready and not view.knows(model):
        return model_not_found(model, tuple(view.table.models))
    if not view.table.workers:
        return no_worker("No workers are configured (--worker-urls).")
    if model is not None and view.ready:
        return no_worker(f"No worker that serves `{model}` is ready.")
    return no_worker("No worker is ready.")
