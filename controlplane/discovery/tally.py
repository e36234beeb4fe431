"""What came to the discovery port, counted, and in the log without ever filling it."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Literal, get_args

from controlplane.discovery.refusals import Reason, RefusedError, shown

SPACING = 10.0
"""Seconds between log lines about one reason, whoever is refused for it and however often."""

Taken = Literal["registered", "changed", "ping", "hello", "goodbye"]

log = logging.getLogger(__name__)


class DiscoveryTally:
    """Counts by a handful of words."""

    def __init__(self) -> None:
        self.taken: Counter[Taken] = Counter(dict.fromkeys(get_args(Taken), 0))
        self.refused: Counter[Reason] = Counter(dict.fromkeys(get_args(Reason), 0))
        self._said: dict[Reason, tuple[float, int]] = {}

    def refuse(self, error: RefusedError, peer: str, *, now: float) -> None:
        """Count a message or a connection that counts for nothing; log it unless that was done just now."""
        reason = error.reason
        self.refused[reason] += 1
        said, count = self._said.get(reason, (float("-inf"), 0))
        if now - said < SPACING:
            return
        self._said[reason] = (now, self.refused[reason])
        more = self.refused[reason] - count - 1
        log.warning(
            "discovery: refused what came from %s (%s): %s%s",
            shown(peer),
            reason,
            error,
            f" ({more} more since the last such line)" if more else "",
        )
