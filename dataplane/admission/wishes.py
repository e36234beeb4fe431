"""What a request itself says of its turn, by fields of its head: its class, and how long it may wait. Pure.

Bodies are not looked into for that: vLLM has a `priority` of its own there, which it gets as it was sent.
"""

from __future__ import annotations

from collections.abc import Mapping

from dataplane.client_keys import Holder
from shared.limit_errors import bad_queue_timeout, class_not_allowed, unknown_class
from shared.limits import BATCH, INTERACTIVE

CLASS = b"x-routerctl-class"
QUEUE_TIMEOUT = b"x-routerctl-queue-timeout-secs"
_RANKS = {INTERACTIVE.encode(): 0, BATCH.encode(): 1}


def rank_of(given: bytes, holder: Holder | None) -> int:
    """Return the rank of a request that asks for a class, where its client's key is `holder` (None: it has none).

    A lower class than the key's is everybody's to ask for. Raises RouterError 400 or 403.
    """
    wanted = _RANKS.get(given.strip().lower())
    if wanted is None:
        raise unknown_class()
    if holder is not None and wanted < holder.rank and not holder.may_choose_class:
        raise class_not_allowed(holder.name)
    return wanted


def patience_of(fields: Mapping[bytes, bytes]) -> float | None:
    """Return the seconds that a request may wait by its own word; None when it says nothing. Raises RouterError."""
    given = fields.get(QUEUE_TIMEOUT)
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        raise bad_queue_timeout() from None
    # What is not a number is in no order.
    if not 0 <= seconds < float("inf"):
        raise bad_queue_timeout()
    return seconds
