"""How full the limits are, for people: the fullest of them first, and a bounded number. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Protocol

import msgspec

from shared.leases import OTHERS
from shared.limits import KEY, RATE_UNIT, Kind

MAX_LIMITS = 50
"""Limits that are told: more than anybody reads, however many there are."""
MAX_TENANTS = 3
NO_KEY = "(no key)"


class LimitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One limit of `amount`, by its name and kind.

    `in_use` of it is taken at this moment, null of a rate; all planes together may use `lent` of it. `wanted` is what
    clients could use now, by tenant, the one with most first: what is in use, waits, or was refused in the last 2 s.
    """

    name: str
    kind: str
    amount: float
    in_use: float | None
    lent: float
    wanted: dict[str, float] = {}


class AdmissionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The fullest limits; there are `more`. `waiting` requests wait for their turn in the planes."""

    limits: tuple[LimitStatus, ...] = ()
    more: int = 0
    waiting: int = 0


class Book(Protocol):
    """What the ledger knows of a limit by its name."""

    def in_use(self, name: str) -> int:
        """Return how much the planes told to be in use."""
        ...

    def lent(self, name: str, now: float) -> int:
        """Return how much all planes may be using."""
        ...

    def wanted(self, name: str) -> Mapping[str, int]:
        """Return what could be used now, by tenant."""
        ...


def admission_status(
    limits: Mapping[str, tuple[Kind, int]], book: Book, waiting: Mapping[str, int], now: float
) -> AdmissionStatus:
    """Return how full the limits are; `waiting` has the requests that wait by plane, `now` is in monotonic seconds."""
    fills = {
        name: 0.0 if kind == "rate" or not amount else book.in_use(name) / amount
        for name, (kind, amount) in limits.items()
    }
    # Of those that are not told nothing else is asked: each client's key may have three.
    fullest = sorted(fills, key=lambda name: (-fills[name], name.startswith(KEY)))[:MAX_LIMITS]
    return AdmissionStatus(
        limits=tuple(_status(name, *limits[name], book, now) for name in fullest),
        more=len(limits) - len(fullest),
        waiting=sum(waiting.values()),
    )


def _status(name: str, kind: Kind, amount: int, book: Book, now: float) -> LimitStatus:
    if kind == "rate":
        # What planes need of a rate is of one to two seconds, so it says who wants it and not how much.
        return LimitStatus(
            name=name, kind=kind, amount=amount / RATE_UNIT, in_use=None, lent=book.lent(name, now) / RATE_UNIT
        )
    # Its name says who wants a limit of a key.
    wanted = [] if name.startswith(KEY) else Counter(book.wanted(name)).most_common(MAX_TENANTS)
    return LimitStatus(
        name=name,
        kind=kind,
        amount=amount,
        in_use=book.in_use(name),
        lent=book.lent(name, now),
        wanted={_tenant(tenant): count for tenant, count in wanted if count},
    )


def _tenant(name: str) -> str:
    return NO_KEY if not name else "others" if name == OTHERS else name
