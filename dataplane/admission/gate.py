"""Who may go on, who waits, and who is refused: the plane's decisions about its limits. No socket, no timer.

What holds at every moment: nobody waits who could go on. So a request that comes while nobody waits takes what there
is or waits; and whenever something becomes free, `wake` names those who go on with it, one for each slot.

Where workers have limits, a request also needs a slot at one of its own. Which one is chosen later, so whoever goes on
is promised one, and gives it back when it has another: no two go on by the same one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import islice
from math import inf
from types import MappingProxyType

from dataplane.admission.asking import LEASE_WAIT, Askers
from dataplane.admission.kept import Kept
from dataplane.admission.key_limits import KeyLimits, key_limits
from dataplane.admission.line import LaneKey, Line, Share
from dataplane.admission.pace import Pace, Returns
from dataplane.admission.quota import Quota, Shared, Slots, all_have_room, quota_of
from dataplane.admission.refused import OverOwn, Refused, has_no_part, lacking, note_refused
from dataplane.admission.shares import Shares
from dataplane.admission.ticket import State, Ticket
from dataplane.admission.waiting import at_workers, with_room
from dataplane.admission.window import Window
from dataplane.admission.worker_slots import NOTHING, Among, WorkerLimits, WorkerSlots
from shared.leases import SETTLING
from shared.limits import KEY, MODEL, WORKER, Limit

QUEUE_BYTES = 256 << 20
"""Bodies that wait in one plane, in bytes: a hundred prompts of a million tokens with some room."""
_BEFORE_LEASES = 100
"""Requests for a model that wait at least while the plane does not know yet what it may use: as --queue-size's own."""
_AT_KEYS = 1000
"""Requests that wait for a lease of their keys' limits at a time, for a quarter of a second each."""
_LOOKED_AT = 64
"""Workers that are looked at at once when requests wait for them; the others' turn comes within a second."""


class Gate:
    """The plane's quotas and its line. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.quotas: dict[str, Quota] = {}
        self.is_leased = False
        self.hears = False
        """Whether any control plane has ever granted anything."""
        self.shares = Shares()
        self.own: dict[str, KeyLimits] = {}
        self.workers = WorkerLimits()
        self._at_keys: dict[Ticket, None] = {}
        self._shared: tuple[Shared, ...] = ()
        self._common: tuple[Shared, ...] = ()
        self._by_model: dict[str | None, tuple[Shared, ...]] = {}
        self._queue_size = 0
        self._line: Line[Ticket] = Line()
        # How many wait that have begun.
        self._begun = 0
        self._at_workers: dict[str, Counter[Share]] = {}
        self._bytes = 0
        self._pace = Pace()
        self._returns: dict[str | None, Returns] = {}
        self._is_crowded = False
        self._askers = Askers()
        self._kept: Kept[tuple[Shared, ...]] = Kept()

    def use(self, limits: Iterable[Limit], queue_size: int, there: Mapping[str, int] = MappingProxyType({})) -> None:
        """Go by these limits, with so many requests for a model that may wait. What is in use stays counted.

        `there` is how many requests are open at each worker.
        """
        before, self.quotas = self.quotas, {}
        of_workers = []
        for limit in limits:
            if limit.name.startswith(WORKER):
                of_workers.append(limit)
                continue
            known = before.get(limit.name)
            if known is None or known.limit.kind != limit.kind:
                known = quota_of(limit)
            known.limit = limit
            self.quotas[limit.name] = known
        self.own = key_limits((quota.limit for quota in self.quotas.values()), self.quotas, self.own)
        shared = {
            name: quota
            for name, quota in self.quotas.items()
            if not name.startswith(KEY) and not isinstance(quota, Window)
        }
        self._shared = tuple(shared.values())
        self._common = tuple(quota for name, quota in shared.items() if not name.startswith(MODEL))
        self._by_model = {
            name.removeprefix(MODEL): (*self._common, quota) for name, quota in shared.items() if name.startswith(MODEL)
        }
        self.workers.use(of_workers, there)
        self.quotas.update((one.limit.name, one) for one in self.workers.slots.values())
        self._queue_size = queue_size
        self._askers.clear()
        self._give_up(self._kept.all())
        for ticket in self._line:
            if not ticket.key.begun:
                ticket.quotas = self.quotas_of(ticket.key.model)

    def quotas_of(self, model: str | None) -> tuple[Shared, ...]:
        """Return what each request for a model needs one of."""
        return self._by_model.get(model, self._common)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._line) + len(self._at_keys)

    def waiting_like(self, ticket: Ticket) -> int:
        """Return how many requests of a ticket's class, tenant and model wait."""
        return self._line.count(ticket.key)

    def enter(self, ticket: Ticket, now: float) -> bool:
        """Let a request go on, or wait; whether it may go on. Raises OverOwn or Refused."""
        use = ticket.use
        if use is None:
            return self._enter(ticket, now)
        limits = use.limits
        full = limits.full(use, now)
        if full is not None:
            until = limits.waits_until(full, use, LEASE_WAIT if self.hears else SETTLING + LEASE_WAIT, now)
            if until is None or len(self._at_keys) >= _AT_KEYS:
                raise OverOwn(use, full, limits.retry_in(full, use, now))
            use.until = until
            self._at_keys[ticket] = None
            return False
        goes = self._enter(ticket, now)
        limits.take(use, now)
        return goes

    def is_at_key(self, ticket: Ticket) -> bool:
        """Whether a request waits for a lease of its key's limits, and not in the line."""
        return ticket in self._at_keys

    def next_at_key(self, now: float) -> Ticket | None:
        """Return a request that waited for a lease of its key's limits and may enter now, if there is one."""
        passed_over = set()
        for ticket in self._at_keys:
            use = ticket.use
            if use is None or use.limits.name in passed_over:
                continue
            limits = self.own.get(use.limits.name)
            if limits is None:
                ticket.use = None
            else:
                use.limits = limits
            if limits is None or now >= use.until or limits.full(use, now) is None:
                del self._at_keys[ticket]
                return ticket
            passed_over.add(limits.name)
        return None

    def _enter(self, ticket: Ticket, now: float) -> bool:
        quotas = ticket.quotas = self._by_model.get(ticket.key.model, self._common) if self._by_model else self._common
        if not self._is_crowded:
            for quota in quotas:
                if not quota.has_room(now):
                    self._is_crowded = True
                    break
            else:
                if ticket.among is None or ticket.among.have_room():
                    share = ticket.key.share
                    for quota in quotas:
                        quota.take(share, now)
                    if ticket.among is not None:
                        self._reserve(ticket, ticket.among, now)
                    ticket.state = State.ADMITTED
                    return True
                self._is_crowded = True
        return self._enter_crowd(ticket, now)

    def _enter_crowd(self, ticket: Ticket, now: float) -> bool:
        line, key = self._line, ticket.key
        if self._kept and (kept := self._kept.take(key)) is not None:
            self._give_up([(key, kept)])
            if ticket.could_go(now):
                self._line.went(key, self.shares.weight(key.tenant, ticket.quotas))
                self._go(ticket, now)
                return True
        if ticket.could_go(now) and self._next(now) is None:
            # Those that wait could not go on: they wait for something else.
            self._returns.pop(key.model, None)
            self._go(ticket, now)
            return True
        position = line.position(key)
        expected = self._expected(ticket, position, now)
        full = lacking(ticket, now)
        ticket.limit = WORKER if full is None else full.limit.name
        most = self._queue_size if self.is_leased else max(self._queue_size, _BEFORE_LEASES)
        patience = ticket.patience
        is_too_long = patience is not None and (not patience or (expected is not None and expected > patience))
        too_big = bool(line) and self._bytes + ticket.size > QUEUE_BYTES
        is_refused = line.by_model[key.model] >= most or too_big or is_too_long
        if is_refused and not (self._queue_size or too_big or is_too_long) and has_no_part(ticket, full):
            ticket.until = self._askers.until(ticket, now) if len(line) < _BEFORE_LEASES else None
            is_refused = ticket.until is None
        if is_refused:
            promised = self._promise(ticket, position, expected, now)
            note_refused(ticket, full, now)
            raise Refused(full, promised, is_too_long=is_too_long)
        ticket.position, ticket.expected = position, expected
        if ticket.among is not None:
            key = ticket.key = key._replace(among=ticket.among)
        line.add(key, ticket)
        self._bytes += ticket.size
        return False

    def wait_again(self, ticket: Ticket, now: float) -> None:
        """Have a request wait that has gone on before, and needs another worker: it has all that it needs but that."""
        self._is_crowded = True
        ticket.key = ticket.key._replace(begun=True, among=ticket.among)
        ticket.limit = WORKER
        ticket.position = self._line.position(ticket.key)
        ticket.expected = self._expected(ticket, ticket.position, now)
        self._line.add(ticket.key, ticket)
        self._bytes += ticket.size
        self._begun += 1

    def can_make_room(self, ticket: Ticket, other: Ticket, now: float) -> bool:
        """Whether a request that waits could go on if another one waited in its place, where workers have no limits."""
        full = [quota for quota in ticket.quotas if not quota.has_room(now)]
        return (
            bool(full)
            and (ticket.among or other.among) is None
            and all(
                isinstance(quota, Slots) and quota in other.quotas and quota.in_use <= quota.allowed for quota in full
            )
        )

    def put_back(self, ticket: Ticket, now: float) -> None:
        """Let a request that went on wait again; what it had is free."""
        full = lacking(ticket, now)
        ticket.limit = WORKER if full is None else full.limit.name
        for quota in ticket.quotas:
            quota.give_back(ticket.key.share)
        ticket.state, ticket.since = State.WAITING, now
        ticket.position, ticket.expected, ticket.went = self._line.position(ticket.key), None, None
        self._line.add(ticket.key, ticket)
        self._bytes += ticket.size
        self._is_crowded = True

    def leave(self, ticket: Ticket, now: float) -> None:
        """Know that a request has ended, or waits no more; what it had is free."""
        if (use := ticket.use) is not None and use.is_taken:
            use.limits.end(use, now)
        if ticket.state is State.WAITING:
            if ticket in self._at_keys:
                del self._at_keys[ticket]
            else:
                self._take_out(ticket)
        elif ticket.state is State.ADMITTED:
            self._pace.moved(now)
            self.take_back(ticket)
            if not (self._is_crowded and self._keeps(ticket, now)):
                for quota in ticket.quotas:
                    quota.give_back(ticket.key.share)
        ticket.state = State.OVER

    def _keeps(self, ticket: Ticket, now: float) -> bool:
        """Whether what a request had is kept for the next one of its tenant: see `kept.py`."""
        line, key = self._line, ticket.key._replace(begun=False, among=None)
        self._kept.took(now - (ticket.since if ticket.went is None else ticket.went))
        if not line or line.waits(key.share) or not line.position(key):
            return False
        slots = [quota for quota in ticket.quotas if isinstance(quota, Slots)]
        if not slots or not all(self.shares.is_within(one, key, line.shares) for one in slots):
            return False
        return self._kept.keep(key, ticket.quotas, now)

    def _give_up(self, kept: Iterable[tuple[LaneKey, tuple[Shared, ...]]]) -> None:
        for key, quotas in kept:
            for quota in quotas:
                quota.give_back(key.share)

    def _take_out(self, ticket: Ticket) -> None:
        self._line.remove(ticket.key, ticket)
        self._bytes -= ticket.size
        self._begun -= ticket.key.begun

    def take_back(self, ticket: Ticket, pool: str | None = None) -> None:
        """Know that what a request was promised is of no use to it (any more), of one pool or of all."""
        left = {}
        for name, slots in ticket.promised.items():
            if pool is None or name == pool:
                slots.give_back(ticket.key.share)
            else:
                left[name] = slots
        ticket.promised = left or NOTHING

    def _reserve(self, ticket: Ticket, among: Among, now: float) -> None:
        ticket.promised = among.promise()
        for slots in ticket.promised.values():
            slots.take(ticket.key.share, now)

    def wake(self, now: float) -> list[Ticket]:
        """Return those who go on now, in their order."""
        if not self._is_crowded:
            return []
        self._give_up(self._kept.over(now) if self._line else self._kept.all())
        gone = []
        while (found := self._next(now)) is not None:
            key, ticket = found
            self._line.went(key, self.shares.weight(key.tenant, ticket.quotas))
            self._take_out(ticket)
            self._askers.got(ticket)
            self._go(ticket, now)
            gone.append(ticket)
        if not self._line and self._kept:
            self._give_up(self._kept.all())
        if not self._line and all_have_room(self._shared, now):
            self._is_crowded = False
            # There is room that nobody takes: those who were told to come back do not.
            self._returns.clear()
        return gone

    def _next(self, now: float) -> tuple[LaneKey, Ticket] | None:
        return self._line.next(
            lambda ticket: ticket.could_go(now),
            lambda model: self._begun > 0 or all_have_room(self._by_model.get(model, self._common), now),
        )

    def _go(self, ticket: Ticket, now: float) -> None:
        for quota in ticket.quotas:
            quota.take(ticket.key.share, now)
        if ticket.among is not None:
            self._reserve(ticket, ticket.among, now)
        ticket.state = State.ADMITTED
        ticket.went = now

    def room_in(self, now: float) -> float | None:
        """Return in how many seconds somebody who waits could go on by time alone; None where that can not be."""
        if not self._line:
            return None
        # A worker has room when a request has ended, and not by time.
        models = {key.model for key, _ in with_room(self._line)} if self.workers.full else self._line.by_model
        needed = {self._by_model.get(model, self._common) for model in models}
        soonest = min((max((quota.room_in(now) for quota in some), default=inf) for some in needed), default=inf)
        over = self._kept.next_over()
        if over is not None:
            soonest = min(soonest, max(0.0, over - now))
        return None if soonest == inf else soonest

    def expected(self, ticket: Ticket, now: float) -> float | None:
        """Return how many seconds a request that waits, or would, may expect; None where that is not known."""
        return self._expected(ticket, self._line.position(ticket.key), now)

    def _expected(self, ticket: Ticket, position: int, now: float) -> float | None:
        pace = self._pace.per_second(now)
        waits = [quota.wait_behind(position, pace, now) for quota in ticket.quotas]
        if ticket.among is not None and not ticket.among.have_room():
            waits.append((position + 1) / pace if pace else inf)
        return None if inf in waits else max(waits, default=0.0)

    def _promise(self, ticket: Ticket, position: int, expected: float | None, now: float) -> float | None:
        """Return in how many seconds a request that is refused may come back; None where that is not known."""
        after = self._expected(ticket, position + 1, now)
        if expected is None or after is None:
            return None
        returns = self._returns.setdefault(ticket.key.model, Returns())
        return returns.promise(expected, after - expected, now)

    def wanted(self) -> set[str]:
        """Return the names of the limits that those need who wait: of many workers' some."""
        names = {quota.limit.name for model in self._line.by_model for quota in self._by_model.get(model, self._common)}
        self._at_workers = at_workers(self._line) if self.workers.slots else {}
        some = (one.limit.name for worker, one in self.workers.slots.items() if worker in self._at_workers)
        names.update(islice(some, _LOOKED_AT))
        return names

    def waiting_for(self, quota: Quota) -> Counter[Share]:
        """Return how many requests of each class and tenant wait that could use the quota.

        Those for a model with a limit of its own could not use more of another one than that, and those whose workers
        are full none.
        """
        found: Counter[Share] = Counter()
        if isinstance(quota, WorkerSlots):
            # As of the last call of `wanted`: there may be many.
            return self._at_workers.get(quota.worker, found)
        if quota not in self._shared:
            # Those that wait at a key's limits count as refused: they go on in a moment, or are.
            return found
        left = {model: quotas[-1].limit.amount - quotas[-1].in_use for model, quotas in self._by_model.items()}
        is_common = quota in self._common
        for key, count in with_room(self._line):
            model = key.model
            if not is_common:
                count = count if quota in self._by_model.get(model, self._common)[-1:] else 0
            elif model in left:
                count, left[model] = min(count, max(0, left[model])), left[model] - count
            if count:
                found[key.share] += count
        return found
