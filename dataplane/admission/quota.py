"""What a plane may use of one limit: slots, which requests give back, or a rate, which refills by itself.

A window is the third kind (`window.py`); only clients' keys have those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import inf

from dataplane.admission.line import Share
from dataplane.admission.recent import Recent
from dataplane.admission.window import Window
from shared.leases import MAX_TENANTS, OTHERS
from shared.limits import CLASSES, RATE_UNIT, Limit

BURST = 1.0
"""Seconds' worth of a rate that may be used at once: over a minute that is 1.7 % above the rate."""


class Slots:
    """Requests at a time. `allowed` is how many the plane may have."""

    __slots__ = ("allowed", "by_share", "in_use", "limit", "refused")

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.allowed = 0
        self.in_use = 0
        # Tenants stay in it when they have none, and there are as many as there are keys.
        self.by_share: Counter[Share] = Counter()
        self.refused = Recent()

    def allow(self, amount: int, now: float) -> None:
        """Go by another amount."""
        self.allowed = amount

    def has_room(self, now: float) -> bool:
        """Whether one more may go on."""
        return self.in_use < self.allowed

    def take(self, share: Share, now: float) -> None:
        """Let one go on."""
        self.in_use += 1
        self.by_share[share] += 1

    def give_back(self, share: Share) -> None:
        """Know that one has ended."""
        self.in_use -= 1
        self.by_share[share] -= 1

    def room_in(self, now: float) -> float:
        """Return in how many seconds there is room if nothing else happens; slots become free by requests' ends."""
        return 0.0 if self.has_room(now) else inf

    def wait_behind(self, position: int, pace: float, now: float) -> float:
        """Return how many seconds one waits behind so many others where `pace` end per second; infinite: not known."""
        if self.has_room(now):
            return 0.0
        return (position + 1) / pace if pace else inf

    def needs(self, waiting: Counter[Share], now: float) -> tuple[dict[str, int], ...]:
        """Return what could be used, by class and tenant, where so many wait."""
        refused = self.refused.counts(now)
        return bounded(self.by_share + waiting + refused)


class Rate:
    """Requests per second: a bucket that `allowed` thousandths flow into each second. It begins empty.

    So nothing is gained by a plane that begins anew, or by a rate that is lent to and fro.
    """

    __slots__ = ("_level", "_seen", "allowed", "asked", "limit")

    in_use = 0

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self.allowed = 0
        self._level = 0.0
        self._seen = -inf
        self.asked = Recent()

    @property
    def refused(self) -> Recent:
        """Where refused requests are counted: they wanted the rate as much as the others."""
        return self.asked

    def allow(self, amount: int, now: float) -> None:
        """Go by another rate from now on."""
        self._refill(now)
        self.allowed = amount
        self._level = min(self._level, self._most)

    @property
    def _most(self) -> float:
        # Of a slow rate there has to be room for one request, and for what flows in until it is noticed.
        return max(BURST * self.allowed, RATE_UNIT * 1.0) if self.allowed else 0.0

    def _refill(self, now: float) -> None:
        if self._seen > -inf:
            self._level = min(self._most, self._level + (now - self._seen) * self.allowed)
        self._seen = now

    def has_room(self, now: float) -> bool:
        """Whether one more may go on."""
        self._refill(now)
        return self._level >= RATE_UNIT

    def take(self, share: Share, now: float) -> None:
        """Let one go on."""
        self._level -= RATE_UNIT
        self.asked.add(share, now)

    def give_back(self, share: Share) -> None:
        """Do nothing: a rate is used up."""

    def room_in(self, now: float) -> float:
        """Return in how many seconds there is room if nothing else happens."""
        self._refill(now)
        missing = RATE_UNIT - self._level
        return max(0.0, missing / self.allowed) if self.allowed else inf

    def wait_behind(self, position: int, pace: float, now: float) -> float:
        """Return how many seconds one waits behind so many others; `pace` is that of slots, and none of a rate's."""
        return self.room_in(now) + position * RATE_UNIT / self.allowed if self.allowed else inf

    def needs(self, waiting: Counter[Share], now: float) -> tuple[dict[str, int], ...]:
        """Return what could be used, by class and tenant, where so many wait."""
        asked = self.asked.counts(now) + waiting
        return bounded(Counter({share: count * RATE_UNIT for share, count in asked.items()}))


Shared = Slots | Rate
"""What requests of all clients need one of each."""
Quota = Shared | Window


def quota_of(limit: Limit) -> Quota:
    """Return a new quota of a limit, of which nothing is allowed yet."""
    match limit.kind:
        case "slots":
            return Slots(limit)
        case "rate":
            return Rate(limit)
        case "window":
            return Window(limit)


def bounded(counts: Counter[Share]) -> tuple[dict[str, int], ...]:
    """Return the counts of each class by tenant: of those that have most, and one of all others together."""
    classes = []
    for rank in range(CLASSES):
        of_class = Counter({tenant: count for (other, tenant), count in counts.items() if other == rank})
        most = dict(of_class.most_common(MAX_TENANTS))
        if len(of_class) > MAX_TENANTS:
            most[OTHERS] = of_class.total() - sum(most.values())
        classes.append(most)
    return tuple(classes)


def all_have_room(quotas: Iterable[Shared], now: float) -> bool:
    """Whether a request that needs one of each may go on."""
    return all(quota.has_room(now) for quota in quotas)
