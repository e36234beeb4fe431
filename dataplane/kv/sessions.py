"""Which worker each session was sent to last, for a while. Of this plane alone."""

from __future__ import annotations

from collections import OrderedDict

MAX_SESSIONS = 100_000
"""About 25 MB; beyond it the one that was idle for longest is forgotten."""


class Sessions:
    """Times are in seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.ttl = 0.0
        self._last: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def use(self, ttl: float) -> None:
        """Keep a session for so many seconds after its last request; 0: none at all."""
        self.ttl = ttl
        if not ttl:
            self._last.clear()

    def last(self, session: bytes, now: float) -> str | None:
        """Return the session's last worker."""
        found = self._last.get(session)
        if found is None or now - found[1] >= self.ttl:
            return None
        return found[0]

    def note(self, session: bytes, worker: str, now: float) -> None:
        """Know that the session goes to a worker now."""
        self._last[session] = (worker, now)
        self._last.move_to_end(session)
        while self._last and (len(self._last) > MAX_SESSIONS or now - next(iter(self._last.values()))[1] >= self.ttl):
            self._last.popitem(last=False)

    def forget(self, session: bytes) -> None:
        """Know that a session is over."""
        self._last.pop(session, None)
