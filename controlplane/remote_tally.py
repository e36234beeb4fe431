"""How many connections came to ports that ask for keys, and how many were let in. No socket, no clock."""

from __future__ import annotations

import zmq

EVENTS = zmq.EVENT_ACCEPTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
"""What has to be told of."""


class Tally:
    """Counts since the control plane's start. `no_key` are those that never proved a key: no CURVE, or no ZeroMQ.

    ZeroMQ does not tell which connection an event is about, so those that failed are what is left over of all that
    had time enough.
    """

    def __init__(self) -> None:
        self.let_in = 0
        self.unknown_key = 0
        self.no_key = 0
        self.open = 0
        self._accepted = 0
        self._decided = 0

    @property
    def results(self) -> dict[str, int]:
        """What became of the connections, by the words of metrics' labels."""
        return {"let_in": self.let_in, "unknown_key": self.unknown_key, "no_key": self.no_key}

    def take(self, event: int) -> None:
        """Count one event."""
        if event == zmq.EVENT_ACCEPTED:
            self._accepted += 1
            self.open += 1
        elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.let_in += 1
        elif event == zmq.EVENT_DISCONNECTED:
            self.open = max(0, self.open - 1)

    def closed(self) -> None:
        """Note that all connections were closed with their sockets."""
        self.open = 0

    def tick(self) -> int:
        """Return how many were refused without a key since the last tick, which is longer ago than handshakes last."""
        before = self.no_key
        # Some that were let in are younger than `_decided`: then this is too small, and right at a later tick.
        self.no_key = max(self.no_key, self._decided - self.let_in - self.unknown_key)
        self._decided = self._accepted
        return self.no_key - before
