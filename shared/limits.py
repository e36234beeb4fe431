"""What may be limited, by name: the same names on both sides of the wire.

Amounts are whole numbers, so that parts of them can be lent without losing any: of `slots`, requests at a time; of a
`rate`, thousandths of a request per second.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from shared.table import Settings

Kind = Literal["slots", "rate"]
TOTAL = "total"
RATE = "rate"
RATE_UNIT = 1000
"""Parts of one request per second that a rate is counted in: 10 per second over 4 planes are 2.5 each."""


BATCH = "batch"
"""The class of clients' keys whose requests go on when no other one waits."""
CLASSES = 2
"""All others, then `BATCH`."""


class Limit(NamedTuple):
    """One limit of the whole router."""

    name: str
    kind: Kind
    amount: int


def limits_of(settings: Settings) -> tuple[Limit, ...]:
    """Return the limits that are set."""
    limits = []
    if settings.max_concurrent_requests:
        limits.append(Limit(TOTAL, "slots", settings.max_concurrent_requests))
    if settings.rate_limit:
        limits.append(Limit(RATE, "rate", max(1, round(settings.rate_limit * RATE_UNIT))))
    return tuple(limits)


def fair_share(amount: int, planes: int) -> int:
    """Return an equal part of a limit for each of `planes`; the parts together are never more than the limit."""
    return amount // max(1, planes)
