"""One publisher's messages in order: what to apply, when to ask for those that were missed, when to begin anew.

No socket and no clock. vLLM numbers its messages from 0 and keeps the last ones for its replay socket; it can not tell
all that it holds. So:

    in order                          -> apply
    seen before (old number, old time) -> drop
    a number too high (gap)           -> replay from the last one applied; it must come back as it was, and lead up to
                                         the message that showed the gap; else purge, and replay from the beginning
    a number too low, a newer time    -> another life of the engine: purge, and replay from its beginning

Without a replay socket, or when it does not fill the gap, the source is purged: better to know nothing than to send
requests after blocks that are gone.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from controlplane.kv_events.decode import Batch

MAX_WAITING = 1024
"""Messages kept while a replay is under way; with more, the oldest go, which shows as another gap."""


@dataclass(frozen=True)
class Apply:
    """Take the events in."""

    batch: Batch


@dataclass(frozen=True)
class Purge:
    """Forget all that the source holds."""

    reason: str


@dataclass(frozen=True)
class Replay:
    """Ask the replay socket for all messages from number `start` on."""

    start: int


Action = Apply | Purge | Replay
_Numbered = tuple[int, Batch]


class Stream:
    """The machine. Each input returns what is to be done, in order."""

    def __init__(self, *, has_replay: bool) -> None:
        """`has_replay`: whether there is a replay socket to ask."""
        self._has_replay = has_replay
        # Number and time of the message applied last.
        self._last: tuple[int, float] | None = None
        self._replaying: int | None = None
        # Whether a replay is to go on from the last message, and that one has come back as it was, and what follows it.
        self._goes_on = False
        self._matches = False
        self._waiting: deque[_Numbered] = deque(maxlen=MAX_WAITING)

    @property
    def is_replaying(self) -> bool:
        """Whether the answer of a replay socket is awaited."""
        return self._replaying is not None

    def begin(self) -> list[Action]:
        """Begin to follow; what was published before is asked for."""
        return self._replay(0)

    def live(self, number: int, batch: Batch) -> list[Action]:
        """Take a message as it was published."""
        if self.is_replaying:
            self._waiting.append((number, batch))
            return []
        return self._take(number, batch)

    def replayed(self, number: int, batch: Batch) -> list[Action]:
        """Take a message of the replay."""
        if not self.is_replaying:
            return []
        if not self._goes_on or self._last is None:
            return self._follow(number, batch)
        if number == self._replaying:
            self._matches = batch.ts == self._last[1]
            return []
        if not self._matches or number != self._last[0] + 1:
            self._matches = False
            return []
        return self._apply(number, batch)

    def replay_ended(self, *, complete: bool) -> list[Action]:
        """Know that the replay is over; not `complete` when it broke off or nobody answered."""
        start, self._replaying = self._replaying, None
        if start is None:
            return []
        if self._goes_on and not (complete and self._matches):
            self._last = None
            actions: list[Action] = [Purge("messages were lost, and the replay could not fill the gap")]
            # Whatever else the buffer holds is worth having; if it breaks off again there is no more to try.
            if complete:
                return actions + self._replay(0)
            return actions + self._take_waiting()
        return self._take_waiting()

    # --- inside ----------------------------------------------------------------------------------------

    def _replay(self, start: int) -> list[Action]:
        if not self._has_replay:
            return []
        self._replaying, self._goes_on, self._matches = start, self._last is not None, False
        return [Replay(start)]

    def _take(self, number: int, batch: Batch) -> list[Action]:
        if self._last is None or number == self._last[0] + 1:
            return self._apply(number, batch)
        if number <= self._last[0]:
            if batch.ts <= self._last[1]:
                return []
            self._last = None
            actions: list[Action] = [Purge("its numbers began anew: the engine was restarted")]
            if number and self._has_replay:
                self._waiting.append((number, batch))
                return actions + self._replay(0)
            return actions + self._apply(number, batch)
        if self._has_replay:
            self._waiting.append((number, batch))
            return self._replay(self._last[0])
        return [Purge("messages were lost, and there is no replay socket"), *self._apply(number, batch)]

    def _follow(self, number: int, batch: Batch) -> list[Action]:
        """Take a message that no further replay can help."""
        if self._last is None or number == self._last[0] + 1:
            return self._apply(number, batch)
        if number <= self._last[0] and batch.ts <= self._last[1]:
            return []
        return [Purge("messages were lost, and the replay could not fill the gap"), *self._apply(number, batch)]

    def _take_waiting(self) -> list[Action]:
        waiting = tuple(self._waiting)
        self._waiting.clear()
        actions: list[Action] = []
        for number, batch in waiting:
            actions += self._follow(number, batch)
        return actions

    def _apply(self, number: int, batch: Batch) -> list[Action]:
        self._last = (number, batch.ts)
        return [Apply(batch)]
