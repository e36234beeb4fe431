"""Who waits a moment for a lease, where nobody else may wait: whoever finds that the plane has no part of a limit.

A part that another plane does not need is here within 0.1 s, as a rule within 20 ms. Where nothing came of it, whoever
comes next is refused at once, for as long as they come: all of the limit is in use then. No clock.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataplane.admission.ticket import Ticket

LEASE_WAIT = 0.25
"""Seconds: a part that another plane does not need comes within 0.1, and this is a busy machine's."""
_FORGOTTEN = 2.0
"""Seconds without anybody asking after which the next one waits for a lease again."""


class Asking:
    """What came of asking for more of a limit. Times are monotonic seconds."""

    __slots__ = ("_asked", "_dry")

    def __init__(self) -> None:
        # From when on nothing is waited for any more, and when anybody asked last.
        self._dry = self._asked = -inf

    def until(self, lease_wait: float, now: float) -> float | None:
        """Return until when somebody who asks now waits; None: lately it was in vain."""
        if now - self._asked > _FORGOTTEN:
            self._dry = now + lease_wait
        self._asked = now
        return self._dry if now < self._dry else None


class Askers:
    """Those who ask, by the limit that they lack and their model; both are known ones, so there is a bounded number."""

    def __init__(self) -> None:
        self._by: dict[tuple[str, str | None], Asking] = {}

    def until(self, ticket: Ticket, now: float) -> float | None:
        """Return until when a request waits; None: lately it was in vain."""
        return self._by.setdefault((ticket.limit, ticket.key.model), Asking()).until(LEASE_WAIT, now)

    def got(self, ticket: Ticket) -> None:
        """Know that a request has got what it asked for: whoever asks next waits again."""
        if ticket.until is not None:
            ticket.until = None
            self._by.pop((ticket.limit, ticket.key.model), None)

    def clear(self) -> None:
        """Forget all: the limits are others now."""
        self._by.clear()
