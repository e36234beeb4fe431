"""The limits that one client's key has for itself: requests at a time, requests and tokens per minute. No clock.

They are asked before the line: whoever is over his own limit is refused at once, and nobody else waits for him. Only
where another plane may have room left does he wait, for as long as a lease takes to come from there (`asking.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf

from dataplane.admission.asking import Asking
from dataplane.admission.estimate import Estimate
from dataplane.admission.pace import Pace
from dataplane.admission.quota import Quota, Slots
from dataplane.admission.window import NOBODY, Window
from shared.limits import KEY, OPEN, REQUESTS, TOKENS, Limit

_PREFIX = b"x-ratelimit-"


class Use:
    """What one request has of its key's own limits. Times are monotonic seconds.

    `until` is how long it waits for a lease, `slots` what it has one of while it is open. `spent` are the tokens that
    it really took; None where that is not known, and the estimate stays.
    """

    __slots__ = ("asked", "is_sent", "is_taken", "limits", "slots", "spent", "taken", "until")

    def __init__(self, limits: KeyLimits, asked: Estimate) -> None:
        self.limits = limits
        self.asked = asked
        self.until = 0.0
        self.taken = 0.0
        self.is_taken = False
        self.is_sent = False
        self.slots: Slots | None = None
        self.spent: int | None = None

    def hold(self, slots: Slots | None, now: float) -> None:
        """Have one of these, and none of those before."""
        if self.slots is not None:
            self.slots.give_back(NOBODY)
        self.slots = slots
        if slots is not None:
            slots.take(NOBODY, now)


class KeyLimits:
    """One key's. None: not limited."""

    __slots__ = ("_asking", "name", "open", "pace", "requests", "tokens", "told")

    def __init__(
        self, name: str, open_: Slots | None, requests: Window | None, tokens: Window | None, before: KeyLimits | None
    ) -> None:
        """`before` is what there was of the same key."""
        self.name = name
        self.open = open_
        self.requests = requests
        self.tokens = tokens
        self.pace: Pace = before.pace if before is not None else Pace()
        # Each window, and the fields of answers that tell of it: the limit, and the names of what changes.
        self.told = tuple(
            (
                window,
                (_PREFIX + b"limit-" + what, b"%d" % window.limit.amount),
                _PREFIX + b"remaining-" + what,
                _PREFIX + b"reset-" + what,
            )
            for window, what in ((requests, b"requests"), (tokens, b"tokens"))
            if window is not None
        )
        self._asking = Asking()

    def full(self, use: Use, now: float) -> Slots | Window | None:
        """Return the limit that has no room for a request; None if all have."""
        slots, requests, tokens = self.open, self.requests, self.tokens
        if slots is not None and slots.in_use >= slots.allowed:
            return slots
        if requests is not None and not requests.has_room(1, now):
            return requests
        if tokens is not None and not tokens.has_room(use.asked.tokens, now):
            return tokens
        return None

    def take(self, use: Use, now: float) -> None:
        """Let a request have what it needs."""
        use.is_taken = True
        use.taken = now
        use.hold(self.open, now)
        if self.requests is not None:
            self.requests.take(1, now)
        if self.tokens is not None and (tokens := use.asked.tokens):
            self.tokens.take(tokens, now)

    def end(self, use: Use, now: float) -> None:
        """Know that a request has ended: settle what it took. One that was never sent to a worker took nothing."""
        if use.slots is not None:
            use.hold(None, now)
            self.pace.moved(now)
        if self.requests is not None and not use.is_sent:
            self.requests.give_back(1, use.taken)
        if self.tokens is None:
            return
        spent = use.spent if use.is_sent else 0
        if spent is None:
            return
        over = spent - use.asked.tokens
        if over > 0:
            # It was made until now.
            self.tokens.take(over, now)
        elif over < 0:
            self.tokens.give_back(-over, use.taken)

    def waits_until(self, full: Slots | Window, use: Use, lease_wait: float, now: float) -> float | None:
        """Return until when a request waits for a lease; None: there is nothing to wait for, and it is refused."""
        amount = need_of(full, use)
        for quota in (self.open, self.requests, self.tokens):
            # A lease of one of them alone would be of no use to it.
            if quota is not None and quota.in_use + (needed := need_of(quota, use)) > quota.allowed:
                quota.refused.add(NOBODY, now, needed)
        until = self._asking.until(lease_wait, now)
        has_all = full.allowed >= full.limit.amount or full.in_use + amount > full.limit.amount
        return None if has_all else until

    def retry_in(self, full: Slots | Window, use: Use, now: float) -> float | None:
        """Return in how many seconds there is room in a limit, as far as this plane knows; None: not known."""
        if isinstance(full, Window):
            return full.room_in(use.asked.tokens if full is self.tokens else 1, now)
        waits = full.wait_behind(0, self.pace.per_second(now), now)
        return None if waits == inf else waits


def need_of(quota: Slots | Window, use: Use) -> int:
    """Return how much of a key's limit a request needs."""
    return use.asked.tokens if quota.limit.name.endswith(TOKENS) else 1


def key_limits(
    limits: Iterable[Limit], quotas: Mapping[str, Quota], before: Mapping[str, KeyLimits]
) -> dict[str, KeyLimits]:
    """Return the limits of keys among `limits`, by the keys' names."""
    names = dict.fromkeys(limit.name.rpartition(":")[0] for limit in limits if limit.name.startswith(KEY))
    found = {}
    for name in names:
        slots, requests, tokens = (quotas.get(name + kind) for kind in (OPEN, REQUESTS, TOKENS))
        key = name.removeprefix(KEY)
        found[key] = KeyLimits(
            key,
            slots if isinstance(slots, Slots) else None,
            requests if isinstance(requests, Window) else None,
            tokens if isinstance(tokens, Window) else None,
            before.get(key),
        )
    return found
