"""A plane as the book of leases knows it: what it told last, and the grants that it may go by. No socket, no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from shared.changes import Changes
from shared.leases import LEASE_LIFE, RENEWAL_INTERVAL, SETTLING, Lease, LeaseReport

MAX_OUTSTANDING = 16
"""Grants that a plane has not told of, one by one; of more than that the older ones are kept as one."""
_RENEW_AFTER = 0.8 * RENEWAL_INTERVAL


class Grant(NamedTuple):
    """A grant to be sent to a plane; see `LeaseGrant`."""

    plane: str
    number: int
    answers: int
    since: int
    leases: dict[str, Lease | None]


@dataclass(slots=True)
class _Sent:
    """A grant that may be on its way, and what it was the first to change."""

    number: int
    at: float
    names: tuple[str, ...]


@dataclass(slots=True)
class Account:
    """One plane. Times are monotonic seconds; `first` is the number of the first grant in this account.

    What it told is of the limits of that version of the `table`. The `draft` is what its next grant is to change, whose
    `number` it has already; 0: nothing yet. Until it gets its first one, so many pages are `undecided` since it came.
    """

    plane: str
    seq: int
    applied: int
    heard: float
    table: int
    sent: deque[_Sent] = field(default_factory=deque)
    leases: Changes[Lease | None] = field(default_factory=Changes)
    draft: dict[str, Lease | None] = field(default_factory=dict)
    number: int = 0
    undecided: int | None = None
    is_answered: bool = False
    first: float = inf

    @classmethod
    def of(cls, report: LeaseReport, now: float) -> Account:
        """Open one with a plane's first report."""
        return cls(report.plane.id, report.seq, report.applied, now, report.table)

    @property
    def is_strange(self) -> bool:
        """Whether the plane still goes by what was not granted in this account, but in an earlier one."""
        return self.applied < self.first

    @property
    def is_new(self) -> bool:
        """Whether it has got no grant yet in this account."""
        return self.first == inf

    def lease(self, name: str) -> Lease | None:
        """Return the lease that it is to have; None if it has none."""
        return self.draft[name] if name in self.draft else self.leases.get(name)

    def is_awake(self, now: float) -> bool:
        """Whether the plane has told something lately."""
        return now - self.heard <= LEASE_LIFE

    def has_lapsed(self, now: float) -> bool:
        """Whether the plane may take its leases for lapsed."""
        return not self.sent or now - self.sent[0].at > LEASE_LIFE

    def may_have_settled(self, now: float) -> bool:
        """Whether the plane may have gone by an equal share of limits that it had no lease of."""
        return not self.sent or now - self.sent[-1].at > SETTLING - LEASE_LIFE

    def has_lost(self, report: LeaseReport, now: float) -> bool:
        """Whether the plane has lost all its leases, and no grant is on its way that could bring them back.

        It builds upon nothing then, and goes by its fallbacks at most.
        """
        if report.since or not self.sent:
            return False
        last = self.sent[-1]
        return last.number <= report.applied or now - last.at > LEASE_LIFE

    def take(self, report: LeaseReport, now: float) -> set[str]:
        """Take a newer report in. Returns of which limits it goes by another lease by now, for all that is known."""
        self.seq, self.applied, self.heard, self.is_answered = report.seq, report.applied, now, False
        self.table = report.table
        moved: set[str] = set()
        # The last one that it goes by stays: it tells since when.
        while self.sent and self.sent[0].number < report.applied:
            moved.update(self.sent.popleft().names)
        if self.sent and self.sent[0].number == report.applied:
            moved.update(self.sent[0].names)
            self.sent[0].names = ()
        return moved

    def needs_renewal(self, now: float) -> bool:
        """Whether a report waits for an answer, and the last one was long ago."""
        return not self.is_answered and (not self.sent or now - self.sent[-1].at >= _RENEW_AFTER)

    def grant(self, number: int, now: float) -> Grant:
        """Return a grant of what is in the draft."""
        changed, self.draft, self.number = self.draft, {}, 0
        for name, lease in changed.items():
            self.leases.put(name, lease, number)
        self.first = min(self.first, number)
        self.is_answered = True
        self.sent.append(_Sent(number, now, tuple(changed)))
        if len(self.sent) > MAX_OUTSTANDING:
            older, newer = self.sent.popleft(), self.sent[0]
            self.sent[0] = _Sent(newer.number, older.at, tuple({*older.names, *newer.names}))
        since = 0 if self.is_strange else self.applied
        leases = self.leases.since(since)
        return Grant(self.plane, number, self.seq, since, leases)
