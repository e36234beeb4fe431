"""A plane as far as leases go, driven by hand: what it uses, what waits, and what it says to a control plane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dataplane.admission.borrower import Borrower
from dataplane.admission.gate import Gate
from dataplane.admission.line import Share
from dataplane.admission.quota import Slots
from dataplane.admission.window import Window
from shared.leases import LeaseGrant, LeaseReport
from shared.limits import WINDOW, WINDOW_STEP, Limit, Taken
from shared.plane_identity import PlaneIdentity

LONGEST = 4.0
"""Seconds that a request lasts at most."""
_NOBODY = (0, "")


class ModelQuota(Slots):
    """Slots, or a window: `begun` has when each request began that it counts, `waiting` is how many more there are."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(limit)
        self.begun: list[float] = []
        self.waiting = 0

    def pass_time(self, now: float) -> None:
        """Know what has ended by time alone."""
        if self.limit.kind == "window":
            # As it counts in steps, it holds each part for longer.
            ends = WINDOW + WINDOW_STEP
            self.begun = [began for began in self.begun if now < began // WINDOW_STEP * WINDOW_STEP + ends]
        else:
            self.begun = [began for began in self.begun if now - began < LONGEST]
        self.in_use = len(self.begun)

    def end(self, count: int) -> None:
        """End so many requests; what they took of a window stays taken."""
        if self.limit.kind == "slots":
            self.begun = self.begun[count:]
            self.in_use = len(self.begun)

    def admit(self, now: float) -> int:
        """Let those go on that may; return how many."""
        count = max(0, min(self.waiting, self.allowed - self.in_use))
        self.begun += [now] * count
        self.waiting -= count
        self.in_use = len(self.begun)
        if self.waiting:
            self.refused.add(_NOBODY, now)
        return count

    def needs(self, waiting: Counter[Share], now: float) -> tuple[dict[str, int], ...]:
        """Return what could be used."""
        return ({"": self.in_use + self.waiting},) if self.in_use + self.waiting else ()


class PlaneModel:
    """One plane; `admitted` counts the requests that went on, by limit."""

    def __init__(self, name: str, limits: Sequence[Limit], planes: int, now: float) -> None:
        self.identity = PlaneIdentity(id=name, slot=0, pid=1, version="1", started=now)
        self.quotas = {limit.name: ModelQuota(limit) for limit in limits}
        gate = Gate()
        gate.quotas.update(self.quotas)
        self.borrower = Borrower(gate, now)
        self.borrower.use(tuple(limits), planes, LONGEST)
        self.epoch = 0
        self.has_grant = False
        self.admitted: Counter[str] = Counter()

    def permitted(self, name: str, now: float) -> int:
        """Return what may be used now."""
        # What one does that was never granted anything is a test of its own.
        if self.has_grant:
            self.borrower.refresh(now)
        return self.quotas[name].allowed

    def most(self, name: str, now: float) -> int:
        """Return what may come to be used if nothing more happens, or is already."""
        return max(self.permitted(name, now), self.quotas[name].in_use)

    def want(self, name: str, count: int, now: float) -> None:
        """Have so many more requests come."""
        self.quotas[name].waiting = min(200, self.quotas[name].waiting + count)
        self.admit(now)

    def pass_time(self, now: float) -> None:
        """Know what has ended by time alone."""
        for quota in self.quotas.values():
            quota.pass_time(now)

    def admit(self, now: float) -> int:
        """Let those go on that may; return how many."""
        if self.has_grant:
            self.borrower.refresh(now)
        total = 0
        for name, quota in self.quotas.items():
            count = quota.admit(now)
            self.admitted[name] += count
            total += count
        return total

    def taken(self, now: float) -> dict[str, Taken]:
        """Return what it tells of windows when it ends."""
        found: dict[str, Taken] = {}
        for name, quota in self.quotas.items():
            window = Window(quota.limit)
            for began in quota.begun:
                window.take(1, began)
            found[name] = window.taken(now)
        return found

    def report(self, now: float) -> LeaseReport:
        """Return what it tells."""
        if self.has_grant:
            self.borrower.refresh(now)
        report = self.borrower.report(self.identity, self.epoch, now, is_due=True)
        assert report is not None
        return report

    def take(self, grant: LeaseGrant, now: float) -> bool:
        """Go by a grant, unless it is of a control plane that has died for all the plane knows."""
        if grant.stamp.epoch < self.epoch or self.borrower.take(grant, now) is None:
            return False
        self.has_grant = True
        return True
