"""What a plane holds of every limit: the leases that it was granted last, and what becomes of them with time.

    age of the lease                              what the plane may use
    --------------------------------------------  ----------------------------------------------------------------
    under LEASE_LIFE                              all of it
    from then on                                  that, but at most its fallback
    SETTLING, and what was taken is given back    its fallback: by now nobody else goes by more than his own

What was taken is given back after `held_for` at most: a slot after the longest request, a part of a window after that
window. The age is counted from when the report was sent that the grant answers, so it is never less than the control
plane's. A plane that never had a grant has nothing at first, and its fair share by the table once
`SETTLING` is over: there is no control plane then. No socket, no clock.
"""

from __future__ import annotations

from collections import deque

from shared.leases import LEASE_LIFE, SETTLING, Lease, LeaseGrant
from shared.limits import Limit, fair_share, held_for

_REMEMBERED = 256
"""Reports of which it is known when they were sent: many seconds' worth, and a grant is of use for one."""


class Holder:
    """The leases of one plane. Times are monotonic seconds."""

    def __init__(self, now: float) -> None:
        self._sent: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)
        self._since = now
        self._leases: dict[str, Lease] = {}
        self.epoch = 0
        self.applied = 0
        self.answered = 0

    def sent(self, seq: int, now: float) -> None:
        """Note when a report was sent."""
        self._sent.append((seq, now))

    def take(self, grant: LeaseGrant) -> bool:
        """Go by a grant.

        False when it is older than the one before, builds upon one that was not taken, or answers a report that nobody
        remembers.
        """
        when = next((at for seq, at in reversed(self._sent) if seq == grant.answers), None)
        epoch = grant.stamp.epoch
        if when is None or (epoch, grant.number) <= (self.epoch, self.applied):
            return False
        if not grant.since:
            self._leases = {}
        elif epoch != self.epoch or grant.since > self.applied:
            return False
        for name, lease in grant.leases.items():
            if lease is None:
                self._leases.pop(name, None)
            else:
                self._leases[name] = lease
        self.epoch, self.applied, self.answered, self._since = epoch, grant.number, grant.answers, when
        return True

    def heard_of(self, epoch: int, now: float) -> int:
        """Return the last report that this control plane is known to have heard; 0 where it may know nothing (more)."""
        return self.answered if epoch == self.epoch and self.is_fresh(now) else 0

    def is_fresh(self, now: float) -> bool:
        """Whether the leases have not lapsed."""
        return now - self._since < LEASE_LIFE

    def follow(self, epoch: int) -> int:
        """Return the number of the last grant of that control plane's; 0 for none yet."""
        return self.applied if epoch == self.epoch else 0

    def permitted(self, limit: Limit, planes: int, longest: float, now: float) -> int:
        """Return how much of a limit may be used now, among so many planes, where no request lasts over `longest`."""
        age = now - self._since
        lease = self._leases.get(limit.name)
        if lease is None:
            return fair_share(limit.amount, planes) if age >= SETTLING else 0
        if age < LEASE_LIFE:
            return lease.amount
        settled = SETTLING + held_for(limit.kind, longest)
        return lease.fallback if age >= settled else min(lease.amount, lease.fallback)

    def meant(self, name: str, now: float) -> dict[str, int]:
        """Return which parts of a limit are meant for which tenants; empty where that is not known."""
        lease = self._leases.get(name) if self.is_fresh(now) else None
        return lease.meant if lease is not None else {}

    def whole(self, limit: Limit) -> int:
        """Return how much all planes together may use, as this one was told: less than is set where it is found."""
        lease = self._leases.get(limit.name)
        return min(limit.amount, lease.whole) if lease is not None and lease.whole else limit.amount

    def knows(self, limit: Limit, now: float) -> bool:
        """Whether it is known how much of a limit may be used: there is a lease, or nobody who grants any."""
        return self.has(limit.name) or now - self._since >= SETTLING

    def has(self, name: str) -> bool:
        """Whether there is a lease."""
        return name in self._leases

    def fallback(self, limit: Limit, planes: int) -> int:
        """Return what of a limit the plane keeps without a control plane."""
        lease = self._leases.get(limit.name)
        return fair_share(limit.amount, planes) if lease is None else lease.fallback

    def changes_at(self) -> float:
        """Return when what may be used changes by itself next, if no grant comes."""
        return self._since + LEASE_LIFE
