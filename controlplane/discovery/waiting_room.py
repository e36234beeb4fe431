"""Who has registered and can not be looked at yet: a record each, where being looked at costs a hundred times as much.

Each sender's wait in the order in which they came. Pure.
"""

from __future__ import annotations

from typing import NamedTuple

from controlplane.discovery.registration import Place, Registration


class _Waits(NamedTuple):
    told: Registration
    sender: str
    until: float


class WaitingRoom:
    """Those that wait, by place, each until it has been silent for too long. Times are monotonic seconds."""

    def __init__(self, most: int, most_of_sender: int) -> None:
        """Have room for so many servers, and for so many of one sender."""
        self._most = most
        self._most_of_sender = most_of_sender
        self._by_sender: dict[str, dict[Place, _Waits]] = {}
        self._senders: dict[Place, str] = {}

    def __len__(self) -> int:
        return len(self._senders)

    def come(self, told: Registration, sender: str, *, until: float) -> None:
        """Have one wait, behind those that came before; one that waits already keeps its place."""
        known = self._senders.get(told.place)
        if known is not None and known != sender:
            # Whoever came first speaks for it: nobody loses his place by another one's word.
            return
        line = self._by_sender.get(sender, {})
        if known is None and (len(self) >= self._most or len(line) >= self._most_of_sender):
            return
        self._by_sender.setdefault(sender, line)[told.place] = _Waits(told, sender, until)
        self._senders[told.place] = sender

    def leave(self, place: Place, sender: str | None = None) -> None:
        """Forget one, if it is that sender's (None: whosever it is)."""
        known = self._senders.get(place)
        if known is None or sender not in (None, known):
            return
        del self._senders[place]
        line = self._by_sender[known]
        del line[place]
        if not line:
            del self._by_sender[known]

    def forget(self, now: float) -> None:
        """Forget those that have been silent for too long."""
        for place in [place for line in self._by_sender.values() for place, one in line.items() if now >= one.until]:
            self.leave(place)

    def senders(self) -> list[str]:
        """Return whose servers wait."""
        return list(self._by_sender)

    def first(self, sender: str) -> Registration | None:
        """Return the one of a sender that came first."""
        line = self._by_sender.get(sender)
        return next(iter(line.values())).told if line else None
