"""A plane as far as leases go, driven by hand: what it uses, what waits, and what it says to a control plane."""

from __future__ import annotations

from dataplane.admission.holder import Holder
from shared.leases import Holding, LeaseGrant, LeaseReport
from shared.limits import TOTAL, WINDOW, WINDOW_STEP, Limit
from shared.plane_identity import PlaneIdentity

LONGEST = 4.0
"""Seconds that a request lasts at most."""


class PlaneModel:
    """One plane; `begun` has when each of its requests began, and of a window when each part was taken."""

    def __init__(self, name: str, limit: Limit, planes: int, now: float) -> None:
        self.identity = PlaneIdentity(id=name, slot=0, pid=1, version="1", started=now)
        self.holder = Holder(now)
        self.limit = limit
        self.planes = planes
        self.epoch = 0
        self.begun: list[float] = []
        self.waiting = 0
        self.has_grant = False
        self.admitted = 0
        self._seq = 0

    def permitted(self, now: float) -> int:
        # What one does that was never granted anything is a test of its own.
        return self.holder.permitted(self.limit, self.planes, LONGEST, now) if self.has_grant else 0

    def most(self, now: float) -> int:
        return max(self.permitted(now), len(self.begun))

    def pass_time(self, now: float) -> None:
        """Know what has ended by time alone."""
        if self.limit.kind == "window":
            # As it counts in steps, it holds each part for longer.
            self.begun = [
                began for began in self.begun if now < began // WINDOW_STEP * WINDOW_STEP + WINDOW + WINDOW_STEP
            ]
        else:
            self.begun = [began for began in self.begun if now - began < LONGEST]

    def admit(self, now: float) -> int:
        """Let those go on that may; return how many."""
        count = min(self.waiting, self.permitted(now) - len(self.begun))
        if count > 0:
            self.begun += [now] * count
            self.waiting -= count
            self.admitted += count
        return max(0, count)

    def report(self, now: float) -> LeaseReport:
        self._seq += 1
        self.holder.sent(self._seq, now)
        used = len(self.begun)
        holding = Holding(
            used,
            self.permitted(now),
            self.holder.fallback(self.limit, self.planes),
            ({"": used + self.waiting},) if used + self.waiting else (),
        )
        return LeaseReport(
            plane=self.identity,
            epoch=self.epoch,
            seq=self._seq,
            applied=self.holder.follow(self.epoch),
            waiting=self.waiting,
            holdings={TOTAL: holding},
        )

    def take(self, grant: LeaseGrant) -> bool:
        """Go by a grant, unless it is of a control plane that has died for all the plane knows."""
        if grant.stamp.epoch < self.epoch or not self.holder.take(grant):
            return False
        self.has_grant = True
        return True
