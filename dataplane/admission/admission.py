"""The gate's hands: requests that wait and are woken, its timers, and the leases that it goes by."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Protocol

from dataplane.admission.answers import refusal
from dataplane.admission.borrower import Borrower
from dataplane.admission.estimate import NOTHING, estimate
from dataplane.admission.gate import Gate
from dataplane.admission.key_answers import over_own, rate_fields
from dataplane.admission.key_limits import Use
from dataplane.admission.line import LaneKey
from dataplane.admission.pace import retry_after
from dataplane.admission.recount import count_open
from dataplane.admission.refused import OverOwn, Refused, in_vain
from dataplane.admission.ticket import State, Ticket
from dataplane.admission.turn import Turn
from dataplane.admission.window import Window
from dataplane.admission.wishes import CLASS, QUEUE_TIMEOUT, patience_of, rank_of
from dataplane.admission.worker_slots import WorkerSlots
from dataplane.admission.workers_for import HALVES, WHOLE, WorkersFor
from shared.client_keys import tenant_weights
from shared.errors import RouterError
from shared.leases import LeaseGrant, LeaseReport
from shared.limit_errors import queue_timeout
from shared.limits import Limit, Taken, limits_of, worker_limits
from shared.plane_identity import PlaneIdentity
from shared.table import RoutingTable, Settings

if TYPE_CHECKING:
    from dataplane.choosing import AllAreFull
    from dataplane.fleet import Fleet
    from dataplane.request import Request

_LOOKED_AT = 64
"""Requests of lower classes that are looked at, to find one that can be taken back."""
ObserveWait = Callable[[str | None, float], None]
"""Told of each request that waited and went on: its model, and for how many seconds."""


class Waiting(Protocol):
    """Whoever waits in the line."""

    def admitted(self) -> None:
        """Go on."""

    def refuse(self, error: RouterError) -> None:
        """Give up."""


class Admission:
    """Lets requests go on within the limits that a table has. Lives in the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, observe: ObserveWait, fleet: Fleet) -> None:
        """Know no limit yet; `fleet` has the workers that requests may go to."""
        self._loop = loop
        self._fleet = fleet
        self._observe = observe
        self.gate = Gate()
        self._borrower = Borrower(self.gate, loop.time())
        self._settings: Settings | None = None
        self._of_workers: tuple[Limit, ...] = ()
        self._planes = 1
        self._queue_timeout = 0.0
        self._preempts = False
        # Requests of lower classes that went on and may be taken back, the newest last.
        self._lower: dict[Ticket, Request] = {}
        self._lower_waiting: dict[Ticket, Request] = {}
        self._valid_until = inf
        self._known_models: frozenset[str] = frozenset()
        self._waiting: dict[Ticket, tuple[Waiting, asyncio.TimerHandle]] = {}
        self._at_keys: dict[Ticket, Request] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_waking = False
        self._is_freed = False
        self._is_looking = False
        self._soon: asyncio.Handle | None = None
        self.needs_report = asyncio.Event()

    def use(self, table: RoutingTable, requests: Iterable[Request]) -> bool:
        """Go by a table's limits; whether there are any. `requests` are all that are open, in order of arrival."""
        settings = table.settings
        self._known_models = frozenset((*table.models, *settings.model_limits))
        of_workers = worker_limits(settings, table.workers.values())
        if settings is not self._settings or of_workers != self._of_workers:
            self._settings, self._of_workers = settings, of_workers
            limits = (*limits_of(settings), *of_workers)
            self._planes = settings.data_planes
            self._queue_timeout = settings.queue_timeout
            self._preempts = settings.preempt_batch
            queue = part_of_queue(settings.queue_size, settings.data_planes)
            self.gate.use(limits, queue, self._fleet.inflight() if of_workers else {})
            for ticket, request in count_open(requests, self.gate, self._known_models, self._loop.time()):
                if self._preempts and ticket.key.rank:
                    self._lower[ticket] = request
            self.gate.shares.weights = tenant_weights(settings.client_keys or ())
            self._borrower.use(limits, settings.data_planes, settings.request_timeout)
        self._borrower.table = table.stamp
        self.refresh()
        self.needs_report.set()
        return bool(self.gate.quotas)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return self.gate.waiting

    # --- requests --------------------------------------------------------------------------------------

    def enter(self, request: Request) -> bool:
        """Let a request go on; False when `admitted` is called for it, now or later. Raises RouterError."""
        now = self._loop.time()
        if now >= self._valid_until:
            self.refresh()
        model, holder = request.model, request.client.key
        model = model if model in self._known_models else None
        gate, use = self.gate, None
        fields = request.client.fields
        rank, tenant = 0, ""
        if holder is not None:
            rank, tenant = holder.share
            if gate.own and (limits := gate.own.get(holder.name)) is not None:
                asked = NOTHING if limits.tokens is None else estimate(request.body, request.client.route)
                use = Use(limits, asked)
        if CLASS in fields:
            rank = rank_of(fields[CLASS], holder)
        key = LaneKey(rank, tenant, model)
        patience = patience_of(fields) if QUEUE_TIMEOUT in fields else None
        ticket = request.ticket = Ticket(key, len(request.body), now, use, patience)
        if gate.workers.slots:
            pools = HALVES if self._fleet.view.pools and request.has_halves() else WHOLE
            ticket.among = WorkersFor(self._fleet, gate.workers, request, pools)
        return self._enter(request, ticket, now)

    def _enter(self, request: Request, ticket: Ticket, now: float) -> bool:
        use = ticket.use
        try:
            if self.gate.enter(ticket, now):
                if use is not None:
                    request.client.limits = rate_fields(use.limits, self._planes, now)
                if self._preempts and ticket.key.rank:
                    self._lower[ticket] = request
                return True
        except OverOwn as over:
            ticket.state, ticket.limit = State.OVER, over.quota.limit.name
            self.needs_report.set()
            request.client.limits = rate_fields(over.use.limits, self._planes, now)
            raise over_own(over, self._planes) from None
        except Refused as refused:
            ticket.state = State.OVER
            self._tell_soon(ticket)
            # Without a name here: the error would hold its traceback, that this frame, and the frame the error.
            raise self._refusal(refused, ticket) from None
        self._tell_soon(ticket)
        waits = self._queue_timeout if ticket.patience is None else min(self._queue_timeout, ticket.patience)
        if use is not None:
            request.client.limits = rate_fields(use.limits, self._planes, now)
            if self.gate.is_at_key(ticket):
                waits = use.until - now
                self._at_keys[ticket] = request
        if ticket.until is not None:
            waits = min(waits, ticket.until - now)
        self._wait(ticket, request, waits)
        if self._preempts:
            if ticket.key.rank:
                self._lower_waiting[ticket] = request
            elif not self.gate.is_at_key(ticket):
                self._make_room(ticket, now)
        # What flows into a rate by time alone has woken nobody; perhaps it is this one's turn at once.
        self._wake()
        return False

    def _wait(self, ticket: Ticket, waiting: Waiting, seconds: float) -> None:
        self._waiting[ticket] = waiting, self._loop.call_later(seconds, self._is_late, ticket)

    def _make_room(self, ticket: Ticket, now: float) -> None:
        """Take one of a lower class back from its worker for one that waits: the newest whose answer has not begun."""
        for other in list(islice(reversed(self._lower), _LOOKED_AT)):
            if not self.gate.can_make_room(ticket, other, now):
                continue
            # Whose answer has begun can not be taken back later either.
            request = self._lower.pop(other)
            if request.take_back():
                self.gate.put_back(other, now)
                self._wait(other, request, self._queue_timeout)
                return

    def _tell_soon(self, ticket: Ticket) -> None:
        # Where others of its tenant wait already it is known that they need more; how much more, the next look tells.
        if self.gate.waiting_like(ticket) <= 1:
            self.needs_report.set()

    def leave(self, ticket: Ticket) -> None:
        """Know that a request has ended, in whatever way."""
        if ticket.state is State.OVER:
            # It was refused at once: nothing becomes free by it, and under overload most requests are such.
            return
        waited = self._waiting.pop(ticket, None)
        if waited is not None:
            waited[1].cancel()
            self._at_keys.pop(ticket, None)
        if self._preempts:
            self._lower.pop(ticket, None)
            self._lower_waiting.pop(ticket, None)
        self.gate.leave(ticket, self._loop.time())
        if ticket.use is not None:
            self._look_at_keys()
        self._wake()

    def late_error(self, ticket: Ticket) -> RouterError:
        """Return the answer to a request that has waited for too long."""
        now = self._loop.time()
        seconds = retry_after(self.gate.expected(ticket, now))
        return queue_timeout(round(now - ticket.since, 1), seconds, again=ticket.key.begun)

    def _is_late(self, ticket: Ticket) -> None:
        waited = self._waiting.get(ticket)
        if waited is None:
            return
        if self.gate.is_at_key(ticket):
            self._look_at_keys()
        elif ticket.until is not None:
            now = self._loop.time()
            waited[0].refuse(self._refusal(in_vain(ticket, self.gate.expected(ticket, now), now), ticket))
        else:
            waited[0].refuse(self.late_error(ticket))

    def _look_at_keys(self) -> None:
        """Let those enter whose keys' limits have room by now, and refuse those that have waited for it in vain."""
        if self._is_looking:
            # A request that went on or was refused has ended at once: whoever looks sees what it left.
            return
        self._is_looking = True
        try:
            now = self._loop.time()
            while (ticket := self.gate.next_at_key(now)) is not None:
                _, timer = self._waiting.pop(ticket)
                timer.cancel()
                request = self._at_keys.pop(ticket)
                try:
                    if self._enter(request, ticket, now):
                        request.admitted()
                except RouterError as error:
                    request.refuse(error)
        finally:
            self._is_looking = False

    def _wake(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if self._is_waking:
            # A request that went on has ended at once: whoever wakes goes on with what it left.
            self._is_freed = True
            return
        self._is_waking = self._is_freed = True
        try:
            while self._is_freed:
                self._is_freed = False
                now = self._loop.time()
                for ticket in self.gate.wake(now):
                    waiting, timer = self._waiting.pop(ticket)
                    timer.cancel()
                    self._observe(ticket.key.model, now - ticket.since)
                    if (lower := self._lower_waiting.pop(ticket, None)) is not None:
                        self._lower[ticket] = lower
                    waiting.admitted()
        finally:
            self._is_waking = False
        self._set_timer(now)

    def _set_timer(self, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        soon = self.gate.room_in(now)
        if soon is not None:
            self._timer = self._loop.call_later(soon, self._timer_rings)

    def _timer_rings(self) -> None:
        self._timer = None
        self._wake()

    def _refusal(self, refused: Refused, ticket: Ticket) -> RouterError:
        may_wait = self._settings is None or self._settings.queue_size > 0
        return refusal(refused, ticket, self.gate.waiting if may_wait else None)

    # --- workers' slots --------------------------------------------------------------------------------

    def take_back(self, ticket: Ticket, pool: str) -> None:
        """Know that a request chooses a worker of a pool now: what it was promised there is free until it takes one.

        Who goes to a decode worker, or to one for all of it, goes to no prefill worker after it.
        """
        if ticket.promised:
            self.gate.take_back(ticket, "prefill" if pool == "prefill" else None)
            self._wake_soon()

    def hold(self, ticket: Ticket, worker: str) -> WorkerSlots | None:
        """Take a slot of a worker that has one; None if it has no limit."""
        return self.gate.workers.hold(worker, ticket.key.share, self._loop.time())

    def whole(self, slots: WorkerSlots) -> int:
        """Return how many requests a worker may have at a time, over all planes."""
        return self._borrower.holder.whole(slots.limit)

    def freed(self, ticket: Ticket, slots: WorkerSlots) -> None:
        """Know that a request has left a worker."""
        slots.give_back(ticket.key.share)
        self._wake_soon()

    def wait_again(
        self, request: Request, full: AllAreFull, go_on: Callable[[], None], refuse: Callable[[RouterError], None]
    ) -> Turn:
        """Have a request wait for one of the workers that are `full`, ahead of those that have not gone on yet."""
        first = request.ticket
        assert first is not None  # noqa: S101 - nobody else finds them full
        # It keeps nobody from the other half meanwhile.
        self.gate.take_back(first)
        ticket = Ticket(first.key, len(request.body), self._loop.time())
        ticket.among = WorkersFor(self._fleet, self.gate.workers, request, (full.pool,), full.left_out)
        turn = Turn(self, ticket, first, go_on, refuse)
        self.gate.wait_again(ticket, self._loop.time())
        self._tell_soon(ticket)
        self._wait(ticket, turn, self._queue_timeout)
        # Perhaps it was only this one's last choice that left nobody.
        self._wake_soon()
        return turn

    def look(self) -> None:
        """See whether time alone, or what a view has learnt since, lets somebody go on. About once a second."""
        self._wake_soon()

    def _wake_soon(self) -> None:
        # Whoever has left a worker for another attempt may take its slot again at once.
        if self.gate.waiting and self._soon is None:
            self._soon = self._loop.call_soon(self._wake)

    # --- leases ----------------------------------------------------------------------------------------

    def take(self, grant: LeaseGrant) -> None:
        """Go by what the control plane grants."""
        now = self._loop.time()
        is_less = self._borrower.take(grant, now)
        if is_less is None:
            return
        self._go_by_leases(now)
        if is_less:
            # Others wait for what was given back.
            self.needs_report.set()

    def refresh(self) -> None:
        """Go by what the leases are worth now."""
        now = self._loop.time()
        self._borrower.refresh(now)
        self._go_by_leases(now)

    def _go_by_leases(self, now: float) -> None:
        self._valid_until = self._borrower.valid_until(now)
        self.gate.hears = self._borrower.holder.epoch > 0
        self._look_at_keys()
        self._wake()

    def windows(self) -> dict[str, Taken]:
        """Return what counts of limits per minute, by name, where anything does: all that is left when a plane ends."""
        now = self._loop.time()
        found = ((name, one.taken(now)) for name, one in self.gate.quotas.items() if isinstance(one, Window))
        return {name: taken for name, taken in found if taken}

    @property
    def tells(self) -> bool:
        """Whether there may be something to report."""
        return self._borrower.tells

    def report(self, identity: PlaneIdentity, epoch: int, *, is_due: bool) -> LeaseReport | None:
        """Return what is to be told to the control plane of that epoch; None where nothing is new and none `is_due`."""
        now = self._loop.time()
        if now >= self._valid_until:
            self.refresh()
        if self.gate.workers.unsure:
            self.gate.workers.look(self._fleet.inflight())
            self._wake_soon()
        return self._borrower.report(identity, epoch, now, is_due=is_due)


def part_of_queue(size: int, planes: int) -> int:
    """Return how many of those that may wait for a model may do so in one of so many planes: one at least, if any."""
    return -(-size // max(1, planes))
