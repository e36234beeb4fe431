"""All open requests of a plane, and what they share: the fleet, the retry budget, the clock, the account."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection
from itertools import islice

from dataplane.access_lines import Ended, level_of
from dataplane.access_log import AccessLog
from dataplane.accounting import Accounting
from dataplane.admission.admission import Admission
from dataplane.client import Client
from dataplane.failure_log import FailureLog
from dataplane.fleet import Fleet
from dataplane.fleet_view import FleetView
from dataplane.peek import request_id
from dataplane.receipts import MAX_TEXT, NOTHING, Extra, Receipts
from dataplane.request import Request
from dataplane.request_lines import ended_lines, open_line
from dataplane.retry import Attempt, RetryBudget, Step, backoff, denied, next_step
from dataplane.slot import Slot
from dataplane.socket_request import SocketRequest
from dataplane.subsets import Served
from dataplane.tracing.tracing import Tracing
from shared.breaker import ProbeNewsKind
from shared.errors import RouterError
from shared.messages import EvidenceKind
from shared.request_lines import RequestLines
from shared.table import RoutingTable

ReportEvidence = Callable[[str, int, EvidenceKind, int, bool, int], None]
"""Worker, epoch, what was seen, requests since the last such report, whether the plane's breaker opened, status."""
ReportProbe = Callable[[str, int, ProbeNewsKind], None]
CutOff = Callable[[tuple[str, int]], None]

WATCH_DELAY = 0.02
"""Seconds after which a request's client is watched. Watching costs two thread switches, which requests that
are answered faster can save; one that leaves is noticed at most this much later, within the promised 50 ms."""


STOOD = 2.0
"""Seconds between two looks at what stands still after which the later one is left out: looks are a second apart."""


def _let_be(peer: tuple[str, int]) -> None:
    """Leave a connection to the server."""


def _tell_nobody(worker: str, epoch: int, news: ProbeNewsKind) -> None:
    """Keep news of a probe to the plane."""


class Forwarder:
    """Forwards every request that is not the router's own; knows all that are open."""

    def __init__(
        self,
        fleet: Fleet,
        accounting: Accounting,
        evidence: ReportEvidence,
        rng: random.Random,
        cut_off: CutOff = _let_be,
        probe_news: ReportProbe = _tell_nobody,
        access: AccessLog | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """Begin without requests; `cut_off` resets the connection of a client that takes nothing."""
        self.cut_off = cut_off
        self.fleet = fleet
        self.accounting = accounting
        self._evidence = evidence
        self._probe_news = probe_news
        self.loop = asyncio.get_running_loop()
        self.rng = rng
        # In order of arrival, so that the oldest are at the front.
        self._requests: dict[Request, None] = {}
        self._unwatched: list[Request] = []
        self.draining = False
        self._looked = self.loop.time()
        self._stood = False
        self.ready = True
        # Open requests whose answer had begun before, and did not tell that it is its connection's last.
        self.unannounced: set[Request] = set()
        self.budget = RetryBudget(self.loop.time())
        self.failures = FailureLog(self.loop.time())
        self.receipts = Receipts(fleet.view.settings.receipts)
        self.access = access or AccessLog(self.loop)
        self.tracing = tracing or Tracing(rng, self.loop.time())
        self.limits = Admission(self.loop, accounting.waited, fleet)
        # What a request has to ask before it goes on; None where there is no limit.
        self.admission: Admission | None = None

    def follow(self, table: RoutingTable) -> None:
        """Go by a table that the fleet has adopted."""
        self.admission = self.limits if self.limits.use(table, self._requests) else None
        self.reroute()

    def drain(self, *, ready: bool) -> None:
        """From now on each answer is its connection's last: the plane is about to stop.

        Without `ready` load balancers are told to send nothing more.
        """
        self.draining = True
        self.ready = ready
        for request in self._requests:
            if request.client.has_promised:
                self.unannounced.add(request)
            request.client.is_last = True

    def forward(self, client: Client, *, to_first: bool = False) -> None:
        """Take a request in; `to_first` asks the first worker that can take it instead of the policy's choice."""
        # As `request_id` below does it, without the call: this is done for each request.
        name = request_id(client.fields, self.fleet.view.request_id_headers, self.rng)
        kind = SocketRequest if client.is_socket else Request
        request = kind(self, client, name, to_first=to_first)
        self.accounting.accept()
        self.budget.request()
        self._requests[request] = None
        request.begin()

    def request_id(self, client: Client) -> bytes:
        """Return the id that the client gave, or a new one."""
        return request_id(client.fields, self.fleet.view.request_id_headers, self.rng)

    def pairing_key(self) -> str:
        """Return 32 hex digits that no other pairing has (`dataplane.pd.connector`)."""
        return f"{self.rng.getrandbits(128):032x}"

    def pause_after(self, number: int) -> float:
        """Return the pause in seconds after attempt `number`."""
        settings = self.fleet.view.settings
        return backoff(
            number,
            initial=settings.retry_initial_backoff,
            longest=settings.retry_max_backoff,
            multiplier=settings.retry_backoff_multiplier,
            jitter=settings.retry_jitter_factor,
            draw=self.rng.random(),
        )

    def step_after(self, attempt: Attempt) -> Step:
        """Return what to do after a failed attempt."""
        most = self.fleet.view.settings.max_attempts
        step = next_step(attempt, max_attempts=most)
        if step is Step.GIVE_UP and (reason := denied(attempt, max_attempts=most)) is not None:
            self.accounting.retries_denied[reason] += 1
        return step

    def blame(self, slot: Slot, kind: EvidenceKind, status: int = 0) -> None:
        """Hold a failure against a worker, and tell the control plane; `status` is that of an answer."""
        if kind == "no-address":
            # A name server's fault, or the way's: worth a look at the worker, but nothing against it.
            self._evidence(slot.id, slot.epoch, kind, 1, False, status)
            return
        slot.outcomes.failed += 1
        self.accounting.worker_failures[(slot.id, kind)] += 1
        blame = self.fleet.blame(slot)
        # A worker that only answers errors lives: once its breaker is open, or has none, there is nothing to tell.
        if blame.counted or kind != "error-status":
            self._evidence(slot.id, slot.epoch, kind, blame.requests, blame.tripped, status)

    def take_probe(
        self, view: FleetView, served: Served | None, tried: Collection[Slot], rank: int | None = None
    ) -> Slot | None:
        """Return a worker of the view that a request for `served` is to probe; None, as a rule."""
        found = self.fleet.wanting_probe(view, served, tried, rank)
        if found is None:
            return None
        slot, todo = found
        self._probe_news(slot.id, slot.epoch, todo)
        return slot if todo == "sent" else None

    def probed(self, slot: Slot, news: ProbeNewsKind) -> None:
        """Take in how a probe ended."""
        self.fleet.probed(slot, news)
        self._probe_news(slot.id, slot.epoch, news)

    def forget(self, request: Request) -> None:
        """Know that a request has ended."""
        del self._requests[request]
        if self.draining:
            self.unannounced.discard(request)

    def refused(self, client: Client, request_id: bytes, error: RouterError) -> None:
        """Have a line logged of a request that was refused before it was one."""
        self.answered_itself(client, request_id, f"rejected {error.code}", error.status, error.message)

    def answered_itself(self, client: Client, request_id: bytes, outcome: str, status: int, cause: str) -> None:
        """Have a line logged of a request that the plane has answered itself, with a failure."""
        access = self.access
        level = level_of(outcome, status, access.success)
        if level >= access.least:
            view, now = self.fleet.view, self.loop.time()
            path, method = client.path[:MAX_TEXT], client.method[:MAX_TEXT]
            row = (
                request_id,
                method,
                path,
                None,
                (now, 0.0, now),
                outcome,
                status,
                None,
                "",
                view.table.stamp,
                (),
                NOTHING if client.key is None else Extra(key=client.key.name),
            )
            access.note(Ended(level, row, cause, client.told_address))

    def watch_soon(self, request: Request) -> None:
        """Watch the request's client if the request is still open in a moment."""
        if not self._unwatched:
            self.loop.call_later(WATCH_DELAY, self._watch)
        self._unwatched.append(request)

    def _watch(self) -> None:
        requests, self._unwatched = self._unwatched, []
        for request in requests:
            request.client.watch()

    def reroute(self) -> None:
        """Choose again for requests whose worker left before they were sent to it. Called after each new table."""
        for request in list(self._requests):
            request.reroute()

    def expire(self) -> None:
        """End requests that stand still or last for too long. Called about once a second."""
        self.receipts.resize(self.fleet.view.settings.receipts)
        self.receipts.refill()
        self.limits.look()
        now = self.loop.time()
        stood, self._looked = now - self._looked > STOOD, now
        if stood and not self._stood:
            # The process itself stood (SIGSTOP, a frozen container), and timers come before what has arrived meanwhile.
            self._stood = True
            return
        self._stood = False
        for request in list(self._requests):
            request.check(now)

    def request_lines(self, most: int, *, troubled: bool, plane: str, wall: float) -> RequestLines:
        """Return the open and the last requests, `most` of each; `plane` is this one's label, `wall` Unix time."""
        shift = wall - self.loop.time()
        return RequestLines(
            active=len(self._requests),
            open=tuple(open_line(one, plane=plane, shift=shift) for one in islice(self._requests, most)),
            ended=tuple(ended_lines(self.receipts.last(most, troubled=troubled), plane=plane, shift=shift)),
        )

    def interrupt_all(self) -> None:
        """End every request: the grace time is over."""
        for request in list(self._requests):
            request.interrupt("shutdown")
