"""The book of leases: what each plane may be using of every limit, and what it is granted next. No socket, no clock.

The one rule: what all planes may be using together is never more than the limit. A plane may be using

- what it told that is in use, and whatever grant it may have taken up since: those sent after the one that it told of;
- once it has gone by no grant for `LEASE_LIFE`, at least its fallback, which it takes when it hears nothing.

A part that one plane does not need is taken back by a smaller grant, and is free when the plane tells that it goes by
that: never before. A plane that is silent keeps what it had until it is heard, or known to be dead. What a dead plane
may have taken of a window counts until that window is over.

A new book knows nothing of what an earlier one has granted. It lends nothing before every plane has told that lived
when it began, or `LEASE_LIFE` is over. If some have not told then, all that the others do not hold counts as held by
these for as long as it may be (`held_for`), and their fallback from then on. Of a window the same counts for planes
that died before the book began, for as long as one may have.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil, inf
from typing import NamedTuple

from controlplane.admission.division import Needs, divide, needed
from shared.leases import LEASE_LIFE, RENEWAL_INTERVAL, Lease, LeaseReport
from shared.limits import WINDOW, Limit, fair_share, held_for

_MAX_OUTSTANDING = 16
"""Grants that a plane has not told of, one by one; of more than that the older ones are kept as one."""
_RENEW_AFTER = 0.8 * RENEWAL_INTERVAL
MAX_PLANES = 1024


class Grant(NamedTuple):
    """A grant to be sent to a plane; see `LeaseGrant`."""

    plane: str
    number: int
    answers: int
    leases: dict[str, Lease]


@dataclass(slots=True)
class _Sent:
    number: int
    at: float
    leases: dict[str, Lease]


@dataclass(slots=True)
class _Account:
    """One plane: its last report, the grants that it may go by, and since when it is `hungry` for want of any.

    `first` is the number of the first grant that it got in this account.
    """

    report: LeaseReport
    heard: float
    sent: deque[_Sent] = field(default_factory=deque)
    hungry: dict[str, float] = field(default_factory=dict)
    is_answered: bool = False
    first: float = inf

    @property
    def is_strange(self) -> bool:
        """Whether the plane still goes by what was not granted in this account, but in an earlier one."""
        return self.report.applied < self.first

    def has(self, name: str) -> int:
        """Return how much of a limit the plane may be using at this moment."""
        told = self.report.holdings.get(name)
        amounts = [one.leases[name].amount for one in self.sent if name in one.leases]
        if told is not None:
            amounts.append(told.in_use)
            if self.is_strange:
                amounts.append(told.permitted)
        return max(amounts, default=0)

    def may_use(self, name: str, now: float) -> int:
        """Return how much of a limit the plane may come to use if it hears nothing more."""
        told = self.report.holdings.get(name)
        amounts = [self.has(name)]
        if told is not None and self.is_strange:
            amounts.append(told.fallback)
        if not self.sent or now - self.sent[0].at > LEASE_LIFE:
            amounts += (one.leases[name].fallback for one in self.sent if name in one.leases)
        return max(amounts)

    @property
    def last(self) -> dict[str, Lease]:
        """The leases that were granted last."""
        return self.sent[-1].leases if self.sent else {}


class Ledger:
    """All leases of one life of the control plane. Times are monotonic seconds."""

    def __init__(self, epoch: int, alive: Iterable[str], now: float, haunted_until: float = -inf) -> None:
        """Begin with the ids of the planes that live already: an earlier control plane may have granted them all.

        Until `haunted_until` a window may have been used by planes that died before now.
        """
        self._epoch = epoch
        self._began = now
        self._unheard = set(alive)
        self._haunted_until = haunted_until
        self._accounts: dict[str, _Account] = {}
        self._limits: dict[str, Limit] = {}
        self._planes = 1
        self._longest = 0.0
        self._number = 0
        self._known: dict[str, int] = {}
        self._bequests: dict[str, Counter[int]] = {}

    def use(self, limits: Iterable[Limit], planes: int, longest: float) -> None:
        """Go by these limits, among so many planes (more are counted if more are heard).

        No request lasts over `longest` seconds.
        """
        self._limits = {limit.name: limit for limit in limits}
        self._planes = planes
        self._longest = longest

    def heard(self, report: LeaseReport, now: float) -> bool:
        """Take a plane's report in; False when it tells nothing new."""
        if report.epoch != self._epoch:
            # The plane may still go by what an earlier control plane sends.
            return False
        name = report.plane.id
        account = self._accounts.get(name)
        if account is None:
            if len(self._accounts) >= MAX_PLANES:
                return False
            account = self._accounts[name] = _Account(report, now)
        elif report.seq <= account.report.seq:
            return False
        self._unheard.discard(name)
        account.report, account.heard, account.is_answered = report, now, False
        while account.sent and account.sent[0].number < report.applied:
            account.sent.popleft()
        return True

    def gone(self, plane: str, now: float) -> bool:
        """Know that a plane is dead, and with it all that it had but for windows. Returns whether it had an account."""
        if plane in self._unheard:
            self._unheard.discard(plane)
            self._haunted_until = now + WINDOW
            return True
        account = self._accounts.pop(plane, None)
        if account is None:
            return False
        until = ceil(now + WINDOW)
        for name, limit in self._limits.items():
            if limit.kind == "window":
                bequests = self._bequests.setdefault(name, Counter())
                bequests[until] += account.may_use(name, now)
        return True

    def silent(self, now: float) -> tuple[str, ...]:
        """Return the planes that should have told something by now."""
        late = [name for name, account in self._accounts.items() if now - account.heard > LEASE_LIFE]
        return (*late, *self._unheard) if now - self._began > LEASE_LIFE else tuple(late)

    def in_use(self, name: str) -> int:
        """Return how much of a limit the planes told to be in use."""
        return sum(one.report.holdings[name].in_use for one in self._accounts.values() if name in one.report.holdings)

    def wanted(self, name: str) -> Counter[str]:
        """Return what clients of the planes could use of a limit now, by tenant: what is in use and what waits."""
        wanted: Counter[str] = Counter()
        for account in self._accounts.values():
            for of_class in _needs(account, name):
                wanted.update(of_class)
        return wanted

    def lent(self, name: str, now: float) -> int:
        """Return how much of a limit all planes may be using."""
        return sum(account.may_use(name, now) for account in self._accounts.values())

    def due(self, now: float) -> tuple[Grant, ...]:
        """Return the grants that are to be sent now: changed ones, and renewals."""
        awake = [account for account in self._accounts.values() if now - account.heard <= LEASE_LIFE]
        if not awake:
            return ()
        planes = max(self._planes, len(self._accounts) + len(self._unheard))
        amounts = {name: self._amounts(limit, awake, planes, now) for name, limit in self._limits.items()}
        grants = []
        for index, account in enumerate(awake):
            leases = {
                name: Lease(parts[index], fair_share(self._limits[name].amount, planes))
                for name, parts in amounts.items()
            }
            if leases != account.last or (not account.is_answered and now - account.sent[-1].at >= _RENEW_AFTER):
                grants.append(self._grant(account, leases, now))
        return tuple(grants)

    def _grant(self, account: _Account, leases: dict[str, Lease], now: float) -> Grant:
        self._number += 1
        account.is_answered = True
        account.first = min(account.first, self._number)
        account.sent.append(_Sent(self._number, now, leases))
        if len(account.sent) > _MAX_OUTSTANDING:
            older, newer = account.sent.popleft(), account.sent[0]
            account.sent[0] = _Sent(newer.number, older.at, _most(older.leases, newer.leases))
        return Grant(account.report.plane.id, self._number, account.report.seq, leases)

    def _unknown(self, limit: Limit, planes: int, now: float) -> int:
        """Return how much of a limit those may be using that never told: planes that are silent, or died before."""
        silent = len(self._unheard) * fair_share(limit.amount, planes)
        settled = self._began + LEASE_LIFE + held_for(limit.kind, self._longest) if self._unheard else -inf
        if limit.kind == "window":
            settled = max(settled, self._haunted_until)
        if now > settled:
            self._known.pop(limit.name, None)
            return silent
        known = self._known.setdefault(limit.name, sum(one.has(limit.name) for one in self._accounts.values()))
        return max(silent, limit.amount - known)

    def _bequeathed(self, name: str, now: float) -> int:
        """Return how much of a window planes may have taken that died since the book began."""
        bequests = self._bequests.get(name)
        if bequests is None:
            return 0
        for until in [until for until in bequests if until <= now]:
            del bequests[until]
        if not bequests:
            del self._bequests[name]
        return bequests.total()

    def _amounts(self, limit: Limit, awake: list[_Account], planes: int, now: float) -> list[int]:
        """Return what each plane that is awake is to have of a limit now."""
        name, amount = limit.name, limit.amount
        others = [account for account in self._accounts.values() if now - account.heard > LEASE_LIFE]
        kept = sum(account.may_use(name, now) for account in others) + self._bequeathed(name, now)
        is_known = not self._unheard or now - self._began > LEASE_LIFE
        if is_known:
            kept += self._unknown(limit, planes, now)
        # One that drains has needs, too: its clients' kept connections still bring requests.
        wanted = [_needs(account, name) for account in awake]
        for account, need in zip(awake, wanted, strict=True):
            is_without = not account.last.get(name, Lease(0, 0)).amount and not _in_use(account, name)
            if needed(need) and is_without:
                account.hungry.setdefault(name, now)
            else:
                account.hungry.pop(name, None)
        hungriest = sorted(
            (index for index, account in enumerate(awake) if name in account.hungry),
            key=lambda index: awake[index].hungry[name],
        )
        targets = divide(max(0, amount - kept), wanted, fair_share(amount, planes), hungriest)
        used = [account.may_use(name, now) for account in awake]
        free = amount - kept - sum(used)
        if not is_known or free < 0:
            return [min(target, account.has(name)) for target, account in zip(targets, awake, strict=True)]
        granted = list(targets)
        hunger = [account.hungry.get(name, inf) for account in awake]
        for index in sorted(range(len(awake)), key=lambda index: (hunger[index], used[index] - targets[index])):
            more = min(max(0, targets[index] - used[index]), free)
            granted[index] = min(targets[index], used[index] + more)
            free -= more
        return granted


def _needs(account: _Account, name: str) -> Needs:
    told = account.report.holdings.get(name)
    return told.needs if told is not None else ()


def _in_use(account: _Account, name: str) -> int:
    told = account.report.holdings.get(name)
    return told.in_use if told is not None else 0


def _most(one: Mapping[str, Lease], other: Mapping[str, Lease]) -> dict[str, Lease]:
    """Return the larger of two leases of each limit."""
    none = Lease(0, 0)
    return {
        name: Lease(
            max(one.get(name, none).amount, other.get(name, none).amount),
            max(one.get(name, none).fallback, other.get(name, none).fallback),
        )
        for name in {*one, *other}
    }
