"""A worker that an attempt holds: it counts as in flight there, perhaps as a probe, until it lets go."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from dataplane.breaker import FAILURE_STATUSES
from dataplane.client import Headers
from dataplane.exchange import Exchange
from dataplane.leg import Leg
from dataplane.load_header import taken_out
from dataplane.receipts import Try, name_worker
from dataplane.slot import Slot
from shared.breaker import ProbeNewsKind
from shared.messages import EvidenceKind

if TYPE_CHECKING:
    from dataplane.admission.ticket import Ticket
    from dataplane.admission.worker_slots import WorkerSlots
    from dataplane.forward import Forwarder


class Held:
    """One attempt's hold on a worker, and what the attempt says about it."""

    __slots__ = ("_forwarder", "_leg", "_limited", "expected", "probing", "slot")

    def __init__(self, forwarder: Forwarder, leg: Leg, slot: Slot, *, probing: bool = False, expected: int = 0) -> None:
        """Hold `slot`; `expected` are the tokens of its prompt that the worker has to compute."""
        self._forwarder = forwarder
        self._leg = leg
        self.slot = slot
        self.probing = probing
        self.expected = expected
        self._limited: tuple[Ticket, WorkerSlots] | None = None
        forwarder.accounting.worker_requests[slot.id] += 1
        slot.inflight += 1
        if expected:
            slot.prefills.sent(self, expected)

    def take_slot(self, ticket: Ticket) -> None:
        """Take a slot of the worker's limit, if it has one, for the request of that ticket."""
        if (slots := self._forwarder.limits.hold(ticket, self.slot.id)) is not None:
            self._limited = ticket, slots

    def let_go(self) -> None:
        """Give it back."""
        if self.probing:
            self.probe_ended("no-verdict")
        self.slot.inflight -= 1
        if self._limited is not None:
            self._forwarder.limits.freed(*self._limited)
        if self.expected:
            self.slot.prefills.ended(self)

    def answers(self, status: int, headers: Headers, tries: Sequence[Try], *, tells_load: bool) -> None:
        """Know that an answer has begun; its head is the client's from here on. `tells_load`: it was asked to."""
        slot, fleet = self.slot, self._forwarder.fleet
        if fleet.avoidance.until:
            fleet.reached(slot)
        slot.outcomes.answers += 1
        if tells_load and (figures := taken_out(headers)) is not None:
            slot.set_queue(figures, self._forwarder.loop.time())
        if fleet.view.names_worker:
            name_worker(headers, fleet.view, slot.id, tries)
        if status >= 500:
            self.judge(status, headers)

    def computed(self, status: int) -> None:
        """Know that the prompt is computed, unless the engine never saw it. Of use where tokens are `expected`."""
        if status == HTTPStatus.OK:
            self.slot.prefills.answered(self)

    def complete(self, exchange: Exchange) -> None:
        """Count an answer that came whole."""
        first_byte, status, slot = exchange.first_byte, exchange.status, self.slot
        slot.outcomes.complete(status, first_byte)
        if status < 400:
            forwarder = self._forwarder
            seconds = forwarder.loop.time() - exchange.sent_at
            slot.timings.complete(seconds, first_byte)
            if self._leg.pool != "plain":
                forwarder.accounting.leg(self._leg.pool, seconds)

    def judge(self, status: int, headers: Headers) -> None:
        """Hold an error against its worker, unless it says that it is busy, or that it can not do such a thing."""
        busy = status == 503 and any(name == b"retry-after" for name, _ in headers)
        if status in FAILURE_STATUSES and not busy:
            self.blame("error-status", status)
        elif self.probing:
            self.probe_ended("no-verdict")

    def blame(self, kind: EvidenceKind, status: int = 0) -> None:
        """Hold a failure against the worker, if it is not that of the way to another one."""
        is_of_worker = self._leg.is_of_worker(kind, status)
        if self.probing:
            self.probe_ended("failed" if is_of_worker and kind != "no-address" else "no-verdict")
        if is_of_worker:
            self._forwarder.blame(self.slot, kind, status)

    def probe_ended(self, news: ProbeNewsKind) -> None:
        """Tell how the probe ended, which this attempt is."""
        self.probing = False
        self._forwarder.probed(self.slot, news)
