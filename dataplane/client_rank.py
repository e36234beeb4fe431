"""The data-parallel rank that a client asks for by itself: `x-data-parallel-rank`.

While workers are ranks, a request to one of them has just the router's own field. A client's decides which one it is:
the request goes to that rank, of whatever server. While no worker is one the field means nothing here, and passes.
"""

from __future__ import annotations

from collections.abc import Set

from dataplane.upstream.head import Headers
from shared.errors import rank_refused, unknown_rank
from shared.worker_rank import HEADER

OWN_RANK = frozenset({HEADER})
_LONGEST = 4
"""Digits."""


def client_rank(headers: Headers, ranks: Set[int], *, refused: bool) -> int | None:
    """Return the rank that a client asks for; None when it leaves that to the router.

    `ranks` are those that there are. Raises RouterError when it asks for none of them, or may not ask.
    """
    values = [value.strip() for name, value in headers if name == HEADER] if ranks else []
    if not values:
        return None
    if refused:
        raise rank_refused()
    (value, *others) = values
    if others or not value.isdigit() or len(value) > _LONGEST or int(value) not in ranks:
        raise unknown_rank(max(ranks))
    return int(value)


def rank_line(rank: int | None) -> bytes:
    """Return the field line that a worker of that rank gets; nothing for one that is none."""
    return b"" if rank is None else b"%b: %d\r\n" % (HEADER, rank)
