"""The book of leases: what each plane may be using of every limit, and what it is granted next. No socket, no clock.

The one rule: what all planes may be using together is never more than the limit. A plane may be using

- what it told that is in use, and whatever grant it may have taken up since: those sent after the one that it told of;
- once it has gone by no grant for `LEASE_LIFE`, at least its fallback, which it takes when it hears nothing.

A part that one plane does not need is taken back by a smaller grant, and is free when the plane tells that it goes by
that: never before. A plane that is silent keeps what it had until it is heard, or known to be dead.

A new book knows nothing of what an earlier one has granted. It lends nothing before every plane has told that lived
when it began, or `LEASE_LIFE` is over; then it takes those that have not told for planes with their fallback.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from controlplane.admission.division import Needs, divide, needed
from shared.leases import LEASE_LIFE, RENEWAL_INTERVAL, Lease, LeaseReport
from shared.limits import fair_share

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
    """One plane: its last report, the grants that it may go by, and since when it is `hungry` for want of any."""

    report: LeaseReport
    heard: float
    sent: deque[_Sent] = field(default_factory=deque)
    hungry: dict[str, float] = field(default_factory=dict)
    is_answered: bool = False

    def has(self, name: str) -> int:
        """Return how much of a limit the plane may be using at this moment."""
        told = self.report.holdings.get(name)
        amounts = [one.leases[name].amount for one in self.sent if name in one.leases]
        if told is not None:
            amounts.append(told.in_use)
            if not self.report.applied:
                # What an earlier control plane granted.
                amounts.append(told.permitted)
        return max(amounts, default=0)

    def may_use(self, name: str, now: float) -> int:
        """Return how much of a limit the plane may come to use if it hears nothing more."""
        told = self.report.holdings.get(name)
        amounts = [self.has(name)]
        if told is not None and not self.report.applied:
            # So an earlier control plane said.
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

    def __init__(self, epoch: int, alive: Iterable[str], now: float) -> None:
        """Begin with the ids of the planes that live already: an earlier control plane may have granted them all."""
        self._epoch = epoch
        self._began = now
        self._unheard = set(alive)
        self._accounts: dict[str, _Account] = {}
        self._limits: dict[str, int] = {}
        self._planes = 1
        self._number = 0

    def use(self, limits: Mapping[str, int], planes: int) -> None:
        """Go by these amounts, among so many planes (more are counted if more are heard)."""
        self._limits = dict(limits)
        self._planes = planes

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

    def gone(self, plane: str) -> bool:
        """Know that a plane is dead, and with it all that it had. Returns whether it had an account."""
        was_unheard = plane in self._unheard
        self._unheard.discard(plane)
        return self._accounts.pop(plane, None) is not None or was_unheard

    def silent(self, now: float) -> tuple[str, ...]:
        """Return the planes that should have told something by now."""
        late = [name for name, account in self._accounts.items() if now - account.heard > LEASE_LIFE]
        return (*late, *self._unheard) if now - self._began > LEASE_LIFE else tuple(late)

    def in_use(self, name: str) -> int:
        """Return how much of a limit the planes told to be in use."""
        return sum(one.report.holdings[name].in_use for one in self._accounts.values() if name in one.report.holdings)

    def lent(self, name: str, now: float) -> int:
        """Return how much of a limit all planes may be using."""
        return sum(account.may_use(name, now) for account in self._accounts.values())

    def due(self, now: float) -> tuple[Grant, ...]:
        """Return the grants that are to be sent now: changed ones, and renewals."""
        awake = [account for account in self._accounts.values() if now - account.heard <= LEASE_LIFE]
        if not awake:
            return ()
        planes = max(self._planes, len(self._accounts) + len(self._unheard))
        amounts: dict[str, list[int]] = {}
        for name, amount in self._limits.items():
            amounts[name] = self._amounts(name, amount, awake, planes, now)
        grants = []
        for index, account in enumerate(awake):
            leases = {
                name: Lease(parts[index], fair_share(self._limits[name], planes)) for name, parts in amounts.items()
            }
            if leases != account.last or (not account.is_answered and now - account.sent[-1].at >= _RENEW_AFTER):
                grants.append(self._grant(account, leases, now))
        return tuple(grants)

    def _grant(self, account: _Account, leases: dict[str, Lease], now: float) -> Grant:
        self._number += 1
        account.is_answered = True
        account.sent.append(_Sent(self._number, now, leases))
        if len(account.sent) > _MAX_OUTSTANDING:
            older, newer = account.sent.popleft(), account.sent[0]
            account.sent[0] = _Sent(newer.number, older.at, _most(older.leases, newer.leases))
        return Grant(account.report.plane.id, self._number, account.report.seq, leases)

    def _amounts(self, name: str, amount: int, awake: list[_Account], planes: int, now: float) -> list[int]:
        """Return what each plane that is awake is to have of a limit now."""
        others = [account for account in self._accounts.values() if now - account.heard > LEASE_LIFE]
        kept = sum(account.may_use(name, now) for account in others)
        is_known = not self._unheard or now - self._began > LEASE_LIFE
        kept += len(self._unheard) * fair_share(amount, planes)
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
