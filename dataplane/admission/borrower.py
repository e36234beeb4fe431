"""What a plane has borrowed of every limit: it goes by the leases, and tells what it uses. No socket, no clock.

There may be thousands of limits, of which few move at a time. So a limit of a key is told of once somebody
needs it, a report holds what changed since the last one that was answered, and what has changed is known without
counting up all that there is:

- somebody wanted more than there is (`Wanted`), or waits in the line, or a grant changed the lease: looked at at once;
- more or less is in use, or allowed: looked for every `LOOK_INTERVAL`;
- what is forgotten by time: looked for in turns, each limit once in `TURNS` looks.

A lease that was made smaller counts as taken up once a report says so: what is in use is told with it, or before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice

from dataplane.admission.gate import Gate
from dataplane.admission.holder import Holder
from dataplane.admission.line import Share
from dataplane.admission.quota import Quota, Rate
from dataplane.admission.recent import Recent
from shared.changes import Changes
from shared.leases import LEASE_LIFE, Holding, LeaseGrant, LeaseReport
from shared.limits import Limit, is_on_demand
from shared.plane_identity import PlaneIdentity
from shared.table import Stamp

LOOK_INTERVAL = 0.05
"""Seconds between two looks at whether something has changed: half of the time in which unused parts are to move on."""
TURNS = 20
_AT_LEAST = 32
"""Limits that are looked at at each look: of fewer, each is."""
_NOTHING = Holding(0, 0, 0, ())


class Wanted(Recent):
    """What was refused of one limit; it tells whom it belongs to that somebody wanted more."""

    __slots__ = ("_name", "_touched")

    def __init__(self, name: str, touched: set[str]) -> None:
        super().__init__()
        self._name = name
        self._touched = touched

    def add(self, share: Share, now: float, amount: int = 1) -> None:
        """Count one, or more."""
        self._touched.add(self._name)
        super().add(share, now, amount)


class Borrower:
    """The leases of one plane, and what it has told of them. Times are monotonic seconds."""

    def __init__(self, gate: Gate, now: float) -> None:
        """Know no limit yet."""
        self._gate = gate
        self.holder = Holder(now)
        self.table = Stamp(0, 0, 0)
        """The table whose limits these are."""
        self._limits: dict[str, Limit] = {}
        self._standing: tuple[Limit, ...] = ()
        self._planes = 1
        self._longest = 0.0
        self._active: dict[str, None] = {}
        self._leaving: set[str] = set()
        self._touched: set[str] = set()
        self._seen: dict[str, tuple[int, int]] = {}
        self._told: Changes[Holding] = Changes()
        self._looked = 0.0
        self._is_unsure = True
        self._seq = 0
        self._has_news = True
        self._sent: tuple[int, int, int, int] | None = None

    def use(self, limits: tuple[Limit, ...], planes: int, longest: float) -> None:
        """Go by these limits, which the gate has quotas of by now, among so many planes."""
        self._limits = {limit.name: limit for limit in limits}
        self._standing = tuple(limit for limit in limits if not is_on_demand(limit.name))
        self._planes = planes
        self._longest = longest
        for name, quota in self._gate.quotas.items():
            if is_on_demand(name) and not isinstance(quota, Rate) and not isinstance(quota.refused, Wanted):
                quota.refused = Wanted(name, self._touched)
        for name in self._gate.shares.parts.keys() - self._limits.keys():
            del self._gate.shares.parts[name]
        # Those that are no more are told of once more, and new ones for the first time.
        self._touched.update(self._active, (limit.name for limit in self._standing))
        self._is_unsure = True

    # --- what may be used ------------------------------------------------------------------------------

    def take(self, grant: LeaseGrant, now: float) -> bool | None:
        """Go by a grant: whether less may be used of something now. None where it is not to be gone by."""
        was_fresh = self.holder.is_fresh(now)
        if not self.holder.take(grant):
            return None
        self._touched.update(grant.leases)
        if was_fresh and grant.since:
            return self._allow(grant.leases, now)
        self._is_unsure = True
        return self.refresh(now)

    def refresh(self, now: float) -> bool:
        """Go by what all leases are worth now; whether less may be used of something than before."""
        return self._allow(self._limits, now)

    def _allow(self, names: Iterable[str], now: float) -> bool:
        is_less = False
        for name in names:
            limit, quota = self._limits.get(name), self._gate.quotas.get(name)
            if limit is None or quota is None:
                continue
            before = quota.allowed
            permitted = self.holder.permitted(limit, self._planes, self._longest, now)
            quota.allow(permitted, now)
            if parts := self.holder.meant(name, now):
                self._gate.shares.parts[name] = parts
            else:
                self._gate.shares.parts.pop(name, None)
            is_less = is_less or permitted < before
        self._gate.is_leased = all(self.holder.knows(limit, now) for limit in self._standing)
        return is_less

    def valid_until(self, now: float) -> float:
        """Return until when that is what the leases are worth, if no grant comes."""
        changes = self.holder.changes_at()
        return changes if changes > now else now + LEASE_LIFE / 4

    # --- what is told ----------------------------------------------------------------------------------

    @property
    def tells(self) -> bool:
        """Whether there are limits, or some that are no more and were told of."""
        return bool(self._limits or self._told)

    def report(self, identity: PlaneIdentity, epoch: int, now: float, *, is_due: bool) -> LeaseReport | None:
        """Return what is to be told to the control plane of that epoch; None where nothing is new and none `is_due`."""
        if not self.tells:
            return None
        since = self.holder.heard_of(epoch, now)
        if not since:
            # Nobody answers. All is told, but not more often than has to be.
            if not is_due and self._sent is not None and epoch == self._sent[0]:
                return None
            self._is_unsure = True
        self._seq += 1
        self._look(now)
        self._leaving = {name for name in self._leaving if not self._told.forget(name, since)}
        table = self.table.version if self.table.epoch == epoch else 0
        head = (epoch, self.holder.follow(epoch), self._gate.waiting, table)
        if not is_due and not self._has_news and head == self._sent:
            return None
        self._has_news, self._sent = False, head
        self.holder.sent(self._seq, now)
        return LeaseReport(
            plane=identity,
            epoch=epoch,
            seq=self._seq,
            applied=head[1],
            waiting=head[2],
            since=since,
            holdings=self._told.since(since),
            table=table,
        )

    def _look(self, now: float) -> None:
        names = self._touched | self._gate.wanted()
        self._touched.clear()
        if self._is_unsure:
            self._is_unsure = False
            names.update(name for name, quota in self._gate.quotas.items() if quota.in_use)
            names.update(self._active)
        elif now - self._looked >= LOOK_INTERVAL or len(self._active) <= _AT_LEAST:
            self._looked = now
            names.update(self._moved())
            for name in list(islice(self._active, max(_AT_LEAST, len(self._active) // TURNS))):
                names.add(name)
                self._active[name] = self._active.pop(name)
        for name in names:
            self._count(name, now)

    def _moved(self) -> list[str]:
        """Return the limits of which more or less is in use, or allowed, than when they were told of."""
        quotas, seen = self._gate.quotas, self._seen
        return [name for name in self._active if (quotas[name].in_use, quotas[name].allowed) != seen[name]]

    def _count(self, name: str, now: float) -> None:
        quota, limit = self._gate.quotas.get(name), self._limits.get(name)
        if quota is None or limit is None:
            self._leave(name)
            return
        holding = self._holding(limit, quota, now)
        is_idle = not quota.in_use and not any(holding.needs)
        if is_idle and is_on_demand(name) and not self.holder.has(name):
            self._leave(name)
            return
        self._active.setdefault(name)
        self._leaving.discard(name)
        self._seen[name] = quota.in_use, quota.allowed
        self._has_news |= self._told.put(name, holding, self._seq)

    def _holding(self, limit: Limit, quota: Quota, now: float) -> Holding:
        waiting: Counter[Share] = self._gate.waiting_for(quota) if self._gate.waiting else Counter()
        needs = quota.needs(waiting, now)
        return Holding(quota.in_use, quota.allowed, self.holder.fallback(limit, self._planes), needs)

    def _leave(self, name: str) -> None:
        """Tell of a limit no more, once it was told that nothing of it is had."""
        self._active.pop(name, None)
        self._seen.pop(name, None)
        if name in self._told:
            self._has_news |= self._told.put(name, _NOTHING, self._seq)
            self._leaving.add(name)
