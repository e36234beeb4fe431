"""Why a control plane on another host is not heard, as far as ZeroMQ tells, and how often that is said. No socket."""

from __future__ import annotations

from collections.abc import Collection

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

_CAUSES = (
    (
        zmq.EVENT_HANDSHAKE_FAILED_AUTH,
        "our key is not let in: put its public part into planes/ of --control-keys there",
    ),
    (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, "who answers there has not the key of --server-key, or is no control plane"),
    (zmq.EVENT_HANDSHAKE_SUCCEEDED, "it lets us in and says nothing"),
    (zmq.EVENT_CONNECTED, "it takes connections and says nothing"),
)
_NO_CONNECTION = "no connection comes about: does it run, with that --control-bind, and are its two ports open for us?"


def cause_of(events: Collection[int]) -> str:
    """Return why nothing is heard; `events` are those of the connection since it was opened or something was heard."""
    return next((cause for event, cause in _CAUSES if event in events), _NO_CONNECTION)


class Complaints:
    """Which causes have been told lately; times are monotonic seconds."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def is_due(self, cause: str, now: float) -> bool:
        """Whether to tell a cause (again); then it counts as told."""
        if now - self._told.get(cause, float("-inf")) < SPACING:
            return False
        self._told[cause] = now
        return True
