"""Why a request does not go on: what it lacks, and where it may not wait either."""

from __future__ import annotations

from itertools import islice

from dataplane.admission.key_limits import Use
from dataplane.admission.quota import Quota, Shared, Slots
from dataplane.admission.ticket import Ticket
from dataplane.admission.window import Window

_WANTED = 8
"""Workers of which a refused request counts as wanting a slot."""


class Refused(Exception):  # noqa: N818 - it is an answer, no failure
    """A request finds no room and may not wait: `quota` is full, and `expected` says when it may come back for some.

    Without a `quota` all of its workers are full. `is_too_long`: it could wait, but not for so long, by its own word.
    """

    def __init__(self, quota: Quota | None, expected: float | None, *, is_too_long: bool = False) -> None:
        """`expected` is in seconds from now; None where it is not known."""
        super().__init__()
        self.quota = quota
        self.expected = expected
        self.is_too_long = is_too_long


class OverOwn(Exception):  # noqa: N818 - likewise
    """A request is over a limit of its own key: `quota` is full, for `expected` seconds (None: not known)."""

    def __init__(self, use: Use, quota: Slots | Window, expected: float | None) -> None:
        super().__init__(quota.limit.name)
        self.use = use
        self.quota = quota
        self.expected = expected


def lacking(ticket: Ticket, now: float) -> Shared | None:
    """Return what has no room for a request, or is others' turn; None where that is its workers."""
    full = next((quota for quota in ticket.quotas if not quota.has_room(now)), None)
    if full is None and ticket.quotas and (ticket.among is None or ticket.among.have_room()):
        return ticket.quotas[0]
    return full


def note_refused(ticket: Ticket, full: Shared | None, now: float) -> None:
    """Know that a request that is refused would have wanted what is `full`; None: one of its workers."""
    among, share = ticket.among, ticket.key.share
    if full is not None:
        full.refused.add(share, now)
    elif among is not None:
        # More is of no use: what the plane gets for one of them is there for the next request.
        for slots in islice(among.limited(), _WANTED):
            slots.refused.add(share, now)


def has_no_part(ticket: Ticket, full: Shared | None) -> bool:
    """Whether the plane has no part of what a request lacks, so that others may have all of it and not need it."""
    if full is not None:
        return isinstance(full, Slots) and not full.allowed
    return ticket.among is not None and any(not slots.allowed for slots in islice(ticket.among.limited(), _WANTED))


def in_vain(ticket: Ticket, expected: float | None, now: float) -> Refused:
    """Return why a request is refused that has waited for a lease in vain; `expected` is as of a `Refused`."""
    full = lacking(ticket, now)
    note_refused(ticket, full, now)
    return Refused(full, expected)
