"""Who may go on, who waits, and who is refused: the plane's decisions about its limits. No socket, no timer.

What holds at every moment: nobody waits who could go on. So a request that comes while nobody waits takes what there
is or waits; and whenever something becomes free, `wake` names those who go on with it, one for each slot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import Enum
from math import inf

from dataplane.admission.key_limits import LEASE_WAIT, KeyLimits, Use, key_limits
from dataplane.admission.line import LaneKey, Line, Share
from dataplane.admission.pace import Pace, Returns
from dataplane.admission.quota import Quota, Shared, Slots, all_have_room, quota_of
from dataplane.admission.window import Window
from shared.leases import SETTLING
from shared.limits import KEY, MODEL, Limit

QUEUE_BYTES = 256 << 20
"""Bodies that wait in one plane, in bytes: a hundred prompts of a million tokens with some room."""
_BEFORE_LEASES = 100
"""Requests for a model that wait at least while the plane does not know yet what it may use: as --queue-size's own."""
_AT_KEYS = 1000
"""Requests that wait for a lease of their keys' limits at a time, for a quarter of a second each."""


class State(Enum):
    """Where a request stands."""

    WAITING = "waiting"
    ADMITTED = "admitted"
    OVER = "over"


class Refused(Exception):  # noqa: N818 - it is an answer, no failure
    """A request finds no room and may not wait: `quota` is full, and `expected` says when it may come back for some.

    `is_too_long`: it could wait, but not for so long, by its own word.
    """

    def __init__(self, quota: Quota, expected: float | None, *, is_too_long: bool = False) -> None:
        """`expected` is in seconds from now; None where it is not known."""
        super().__init__(quota.limit.name)
        self.quota = quota
        self.expected = expected
        self.is_too_long = is_too_long


class OverOwn(Exception):  # noqa: N818 - likewise
    """A request is over a limit of its own key: `quota` is full, for `expected` seconds (None: not known)."""

    def __init__(self, use: Use, quota: Slots | Window, expected: float | None) -> None:
        super().__init__(quota.limit.name)
        self.use = use
        self.quota = quota
        self.expected = expected


class Ticket:
    """One request's stand: what it is counted for, and how it waited. `size` is its body's, in bytes.

    `patience` are the seconds that it may wait by its own word; None: it says nothing of that.
    `use` is what it has of its key's own limits, where the key has some; `over` the limit that it was refused for.
    Of one that waited, `position` is how many were ahead of it and `expected` how many seconds that was thought to
    take (None: not known); `since` is when it came, `went` when it went on.
    """

    __slots__ = ("expected", "key", "over", "patience", "position", "quotas", "since", "size", "state", "use", "went")

    def __init__(
        self, key: LaneKey, size: int, now: float, use: Use | None = None, patience: float | None = None
    ) -> None:
        self.key = key
        self.patience = patience
        self.use = use
        self.size = size
        self.since = now
        self.state = State.WAITING
        self.quotas: tuple[Shared, ...] = ()
        self.position: int | None = None
        self.expected: float | None = None
        self.over = ""
        self.went: float | None = None


class Gate:
    """The plane's quotas and its line. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.quotas: dict[str, Quota] = {}
        self.is_leased = False
        self.hears = False
        """Whether any control plane has ever granted anything."""
        self.weights: Mapping[str, int] = {}
        """What tenants get beside others, where it is not 1."""
        self.own: dict[str, KeyLimits] = {}
        self._at_keys: dict[Ticket, None] = {}
        self._shared: tuple[Shared, ...] = ()
        self._common: tuple[Shared, ...] = ()
        self._by_model: dict[str | None, tuple[Shared, ...]] = {}
        self._queue_size = 0
        self._line: Line[Ticket] = Line()
        self._bytes = 0
        self._pace = Pace()
        self._returns: dict[str | None, Returns] = {}
        self._is_crowded = False

    def use(self, limits: Iterable[Limit], queue_size: int) -> None:
        """Go by these limits, with so many requests for a model that may wait. What is in use stays counted."""
        before, self.quotas = self.quotas, {}
        for limit in limits:
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
        self._queue_size = queue_size
        for ticket in self._line:
            ticket.quotas = self._by_model.get(ticket.key.model, self._common)

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
                share = ticket.key.share
                for quota in quotas:
                    quota.take(share, now)
                ticket.state = State.ADMITTED
                return True
        return self._enter_crowd(ticket, now)

    def _enter_crowd(self, ticket: Ticket, now: float) -> bool:
        line, key = self._line, ticket.key
        if all_have_room(ticket.quotas, now) and self._next(now) is None:
            # Those that wait could not go on: they wait for something else.
            self._returns.pop(key.model, None)
            self._go(ticket, now)
            return True
        position = line.position(key)
        expected = self._expected(ticket, position, now)
        most = self._queue_size if self.is_leased else max(self._queue_size, _BEFORE_LEASES)
        patience = ticket.patience
        is_too_long = patience is not None and (not patience or (expected is not None and expected > patience))
        too_big = bool(line) and self._bytes + ticket.size > QUEUE_BYTES
        if line.by_model[key.model] >= most or too_big or is_too_long:
            full = next((quota for quota in ticket.quotas if not quota.has_room(now)), ticket.quotas[0])
            full.refused.add(key.share, now)
            raise Refused(full, self._promise(ticket, position, expected, now), is_too_long=is_too_long)
        ticket.position, ticket.expected = position, expected
        line.add(key, ticket)
        self._bytes += ticket.size
        return False

    def leave(self, ticket: Ticket, now: float) -> None:
        """Know that a request has ended, or waits no more; what it had is free."""
        if (use := ticket.use) is not None and use.is_taken:
            use.limits.end(use, now)
        if ticket.state is State.WAITING:
            if ticket in self._at_keys:
                del self._at_keys[ticket]
            else:
                self._line.remove(ticket.key, ticket)
                self._bytes -= ticket.size
        elif ticket.state is State.ADMITTED:
            self._pace.moved(now)
            for quota in ticket.quotas:
                quota.give_back(ticket.key.share)
        ticket.state = State.OVER

    def wake(self, now: float) -> list[Ticket]:
        """Return those who go on now, in their order."""
        if not self._is_crowded:
            return []
        gone = []
        while (found := self._next(now)) is not None:
            key, ticket = found
            self._line.went(key, self.weights.get(key.tenant, 1))
            self._line.remove(key, ticket)
            self._bytes -= ticket.size
            self._go(ticket, now)
            gone.append(ticket)
        if not self._line and all_have_room(self._shared, now):
            self._is_crowded = False
            # There is room that nobody takes: those who were told to come back do not.
            self._returns.clear()
        return gone

    def _next(self, now: float) -> tuple[LaneKey, Ticket] | None:
        return self._line.next(
            lambda ticket: all_have_room(ticket.quotas, now),
            lambda model: all_have_room(self._by_model.get(model, self._common), now),
        )

    def _go(self, ticket: Ticket, now: float) -> None:
        for quota in ticket.quotas:
            quota.take(ticket.key.share, now)
        ticket.state = State.ADMITTED
        ticket.went = now

    def room_in(self, now: float) -> float | None:
        """Return in how many seconds somebody who waits could go on by time alone; None where that can not be."""
        if not self._line:
            return None
        needed = {self._by_model.get(model, self._common) for model in self._line.by_model}
        soonest = min(max(quota.room_in(now) for quota in quotas) for quotas in needed)
        return None if soonest == inf else soonest

    def expected(self, ticket: Ticket, now: float) -> float | None:
        """Return how many seconds a request that waits, or would, may expect; None where that is not known."""
        return self._expected(ticket, self._line.position(ticket.key), now)

    def _expected(self, ticket: Ticket, position: int, now: float) -> float | None:
        pace = self._pace.per_second(now)
        waits = [quota.wait_behind(position, pace, now) for quota in ticket.quotas]
        return None if inf in waits else max(waits, default=0.0)

    def _promise(self, ticket: Ticket, position: int, expected: float | None, now: float) -> float | None:
        """Return in how many seconds a request that is refused may come back; None where that is not known."""
        after = self._expected(ticket, position + 1, now)
        if expected is None or after is None:
            return None
        returns = self._returns.setdefault(ticket.key.model, Returns())
        return returns.promise(expected, after - expected, now)

    def wanted(self) -> set[str]:
        """Return the names of the limits that those need who wait."""
        return {quota.limit.name for model in self._line.by_model for quota in self._by_model.get(model, self._common)}

    def waiting_for(self, quota: Quota) -> Counter[Share]:
        """Return how many requests of each class and tenant wait that could use the quota.

        Those for a model with a limit of its own could not use more of another one than that.
        """
        found: Counter[Share] = Counter()
        if quota not in self._shared:
            # Those that wait at a key's limits count as refused: they go on in a moment, or are.
            return found
        left = {model: quotas[-1].limit.amount - quotas[-1].in_use for model, quotas in self._by_model.items()}
        is_common = quota in self._common
        for key, count in self._line.lanes():
            model = key.model
            if not is_common:
                count = count if quota in self._by_model.get(model, self._common)[-1:] else 0
            elif model in left:
                count, left[model] = min(count, max(0, left[model])), left[model] - count
            if count:
                found[key.share] += count
        return found
