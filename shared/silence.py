"""Why somebody on another host is not heard, as far as ZeroMQ tells, and how often that is said. No socket."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import zmq

EVENTS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
"""What has to be told of."""
SPACING = 60.0
"""Seconds between two lines about one cause: who looks finds a fresh one, and a night makes no long log."""
_MAX_CAUSES = 64


class Causes(NamedTuple):
    """What to say of each cause."""

    key_refused: str
    other_key: str
    mute_after_key: str
    mute: str
    no_connection: str


def cause_of(events: Collection[int], causes: Causes) -> str:
    """Return why nothing is heard; `events` are those of the connection since it was opened or something was heard."""
    if zmq.EVENT_HANDSHAKE_FAILED_AUTH in events:
        return causes.key_refused
    if zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL in events:
        return causes.other_key
    if zmq.EVENT_HANDSHAKE_SUCCEEDED in events:
        return causes.mute_after_key
    return causes.mute if zmq.EVENT_CONNECTED in events else causes.no_connection


class Complaints:
    """Which causes have been told lately; times are monotonic seconds."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def is_due(self, cause: str, now: float) -> bool:
        """Whether to tell a cause (again); then it counts as told."""
        if now - self._told.get(cause, float("-inf")) < SPACING:
            return False
        if len(self._told) >= _MAX_CAUSES:
            # Some of them hold what others wrote.
            self._told.clear()
        self._told[cause] = now
        return True
