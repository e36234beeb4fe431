"""One limit's page in the book of leases: what each plane may be using of it. No socket, no clock.

What planes told of it and what was granted to them since comes in; `parts` says what each is to have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, inf
from typing import NamedTuple

from controlplane.admission.account import MAX_OUTSTANDING, Account
from controlplane.admission.division import Needs, divide, meant, needed
from shared.leases import LEASE_LIFE, Holding, Lease
from shared.limits import TAKEN_STEP, WINDOW, Limit, Taken, fair_share

_NOTHING = Lease(0, 0)


@dataclass(slots=True)
class _Part:
    """One plane's: what it `told`, the leases by their grants' numbers that it may go by, since when it is `hungry`.

    `dropped` is the grant that took the lease away; 0 if none did.
    """

    told: Holding | None = None
    sent: list[tuple[int, Lease]] = field(default_factory=list)
    hungry: float = inf
    dropped: int = 0

    @property
    def in_use(self) -> int:
        """What the plane told to be in use."""
        return self.told.in_use if self.told is not None else 0

    @property
    def needs(self) -> Needs:
        """What the plane told that it could use."""
        return self.told.needs if self.told is not None else ()

    @property
    def last(self) -> Lease:
        """The lease that was granted last."""
        return self.sent[-1][1] if self.sent else _NOTHING

    def has(self, account: Account) -> int:
        """Return how much the plane may be using at this moment."""
        most = max((lease.amount for _, lease in self.sent), default=0)
        if self.told is None:
            return most
        # What an earlier account granted goes on until a grant of this one is taken.
        return max(most, self.told.in_use, self.told.permitted if account.is_strange else 0)

    def may_use(self, account: Account, fair: int, now: float) -> int:
        """Return how much the plane may come to use if it hears nothing more, where an equal share is `fair`."""
        most = self.has(account)
        # Without a lease it takes an equal share.
        alone = fair if self.told is None else self.told.fallback
        if account.is_strange:
            most = max(most, alone)
        if account.has_lapsed(now):
            most = max(most, max((lease.fallback for _, lease in self.sent), default=alone))
        return most


class Set(NamedTuple):
    """When a limit was set: the first `version` of the table that has it, and the moment (monotonic seconds)."""

    version: int
    at: float


LONG_AGO = Set(0, -inf)


class Scene(NamedTuple):
    """What stands around at the moment of a decision.

    `awake` and `asleep` are the planes that told lately, or did not; `planes` is for how many an equal share is. Of
    `unheard` planes nothing is known. With `is_known` false nothing may be lent yet. `veiled` are the kinds of limits
    of which all may be in use that was not held by those that had told when it became known. `weights` are tenants'.
    `awaited` are planes that were there when a limit was set last, and have not told anything yet.
    """

    awake: Sequence[Account]
    asleep: Sequence[Account]
    planes: int
    unheard: int
    is_known: bool
    veiled: frozenset[str]
    weights: Mapping[str, int]
    awaited: Collection[str]
    now: float


class LimitBook:
    """All that is known of one limit."""

    def __init__(self, limit: Limit, was_set: Set) -> None:
        self.begin_anew(limit, was_set)
        self._parts: dict[str, _Part] = {}
        self._known: int | None = None
        self._bequests: Counter[int] = Counter()

    def begin_anew(self, limit: Limit, was_set: Set) -> None:
        """Go by a limit that was not there, or not any more."""
        self.limit = limit
        self.is_dropped = False
        self.is_new = True
        self._set = was_set

    # --- what comes in ---------------------------------------------------------------------------------

    def told(self, plane: str, holding: Holding) -> None:
        """Know what a plane has."""
        is_nothing = not (holding.in_use or holding.permitted or holding.fallback or any(holding.needs))
        self._parts.setdefault(plane, _Part()).told = None if is_nothing else holding

    def granted(self, plane: str, number: int, lease: Lease | None) -> None:
        """Know that a plane is granted a lease, or that it is taken away."""
        part = self._parts.setdefault(plane, _Part())
        part.dropped = 0 if lease is not None else number
        sent = part.sent
        sent.append((number, lease or Lease(0, part.last.fallback)))
        if len(sent) > MAX_OUTSTANDING:
            (_, one), (newer, other) = sent[0], sent[1]
            most = Lease(max(one.amount, other.amount), max(one.fallback, other.fallback))
            sent[:2] = [(newer, most)]

    def applied(self, plane: str, number: int) -> None:
        """Know that a plane goes by a grant, and by none before it."""
        part = self._parts.get(plane)
        if part is None:
            return
        sent = part.sent
        while len(sent) > 1 and sent[1][0] <= number:
            del sent[0]
        if part.told is None and part.dropped and sent[-1][0] <= number:
            del self._parts[plane]

    def lost(self, plane: str) -> None:
        """Know that a plane goes by nothing any more that it was granted."""
        part = self._parts.get(plane)
        if part is not None and part.told is None:
            del self._parts[plane]
        elif part is not None:
            part.sent, part.dropped = [], 0

    def gone(self, account: Account, planes: int, now: float) -> None:
        """Know that a plane is dead, of so many; what it may have taken of a window counts on."""
        if self.limit.kind == "window":
            self._bequests[ceil(now + WINDOW)] += self._may_use(account, planes, now)
        self._parts.pop(account.plane, None)

    def ended(self, plane: str, taken: Taken, now: float) -> None:
        """Know that a plane has ended and what it took of a window, which counts on."""
        for steps, amount in taken.items():
            self._bequests[ceil(now + min(steps * TAKEN_STEP, WINDOW + TAKEN_STEP))] += max(0, amount)
        self._parts.pop(plane, None)

    # --- what is asked ---------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether nobody uses or needs anything of it."""
        return all(part.told is None or not (part.told.in_use or any(part.told.needs)) for part in self._parts.values())

    @property
    def is_empty(self) -> bool:
        """Whether nobody has, or may have, anything of it."""
        return not self._parts and not self._bequests

    def in_use(self) -> int:
        """Return how much the planes told to be in use."""
        return sum(part.in_use for part in self._parts.values())

    def wanted(self) -> Counter[str]:
        """Return what clients of the planes could use now, by tenant."""
        wanted: Counter[str] = Counter()
        for part in self._parts.values():
            for of_class in part.needs:
                wanted.update(of_class)
        return wanted

    def lent(self, accounts: Iterable[Account], planes: int, now: float) -> int:
        """Return how much all planes may be using, where an equal share is one of so many."""
        return sum(self._may_use(account, planes, now) for account in accounts)

    def leases(self, scene: Scene) -> list[Lease]:
        """Return the lease that each plane that is awake is to have now."""
        needs = [self._part(account).needs for account in scene.awake]
        shares = meant(self.limit.amount, needs, scene.weights)
        amount = self.limit.amount
        fair = fair_share(amount, scene.planes)
        return [Lease(part, fair, share, amount) for part, share in zip(self._divided(scene), shares, strict=True)]

    def _divided(self, scene: Scene) -> list[int]:
        amount, now = self.limit.amount, scene.now
        kept = sum(self._may_use(account, scene.planes, now) for account in scene.asleep) + self._bequeathed(now)
        if scene.is_known:
            kept += self._unknown(scene)
        parts = [self._part(account) for account in scene.awake]
        # One that drains has needs, too: its clients' kept connections still bring requests.
        needs = [part.needs for part in parts]
        for part, need in zip(parts, needs, strict=True):
            is_without = not part.last.amount and not part.in_use
            part.hungry = min(part.hungry, now) if needed(need) and is_without else inf
        hungriest = [index for index, part in enumerate(parts) if part.hungry < inf]
        hungriest.sort(key=lambda index: parts[index].hungry)
        targets = divide(max(0, amount - kept), needs, fair_share(amount, scene.planes), hungriest, scene.weights)
        used = [self._may_use(account, scene.planes, now) for account in scene.awake]
        free = amount - kept - sum(used)
        if not (scene.is_known and self._is_told(scene)) or free < 0:
            having = (part.has(account) for part, account in zip(parts, scene.awake, strict=True))
            return [min(target, has) for target, has in zip(targets, having, strict=True)]
        granted = list(targets)
        for index in sorted(range(len(parts)), key=lambda index: (parts[index].hungry, used[index] - targets[index])):
            more = min(max(0, targets[index] - used[index]), free)
            granted[index] = min(targets[index], used[index] + more)
            free -= more
        return granted

    def _is_told(self, scene: Scene) -> bool:
        """Whether each plane has told what it has of this limit: where it is new, requests may be open already."""
        if self.is_new and scene.now - self._set.at > LEASE_LIFE:
            self.is_new = False
        elif self.is_new and not scene.awaited:
            self.is_new = any(account.table < self._set.version for account in scene.awake)
        return not self.is_new

    def _part(self, account: Account) -> _Part:
        return self._parts.get(account.plane) or _Part()

    def _may_use(self, account: Account, planes: int, now: float) -> int:
        return self._part(account).may_use(account, fair_share(self.limit.amount, planes), now)

    def _unknown(self, scene: Scene) -> int:
        """Return how much those may be using that never told: planes that are silent, or died before."""
        silent = scene.unheard * fair_share(self.limit.amount, scene.planes)
        if self.limit.kind not in scene.veiled:
            self._known = None
            return silent
        if self._known is None:
            accounts = (*scene.awake, *scene.asleep)
            self._known = sum(self._part(account).has(account) for account in accounts)
        return max(silent, self.limit.amount - self._known)

    def _bequeathed(self, now: float) -> int:
        """Return how much of a window planes may have taken that died since."""
        for until in [until for until in self._bequests if until <= now]:
            del self._bequests[until]
        return self._bequests.total()
