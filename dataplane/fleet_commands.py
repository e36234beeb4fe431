"""Changes of the fleet that came to this plane, on their way to the control plane and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.messages import FleetAnswer, FleetVerb
from shared.worker_attributes import NOTHING_SAID, WorkerAttributes

ANSWER_TIMEOUT = 5.0
"""Seconds: the control plane answers within 2.5 s and the time that its disk takes."""
MAX_PENDING = 64
"""Commands under way at a time; nobody changes a fleet faster."""

Send = Callable[[int, FleetVerb, str, WorkerAttributes], bool]
Done = Callable[[FleetAnswer | None], None]


def _nobody(_number: int, _verb: FleetVerb, _url: str, _said: WorkerAttributes) -> bool:
    """Reach no control plane."""
    return False


class FleetCommands:
    """Knows which answers are awaited. Each `done` is called once: with the answer, or None when none came."""

    def __init__(self, send: Send = _nobody) -> None:
        """`send` takes number, verb, a worker's URL and what it is like; it returns whether the message went out."""
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._pending: dict[int, tuple[Done, asyncio.TimerHandle]] = {}
        self._last = 0

    def ask(
        self,
        verb: FleetVerb,
        url: str,
        done: Done,
        said: WorkerAttributes = NOTHING_SAID,
        *,
        patience: float = ANSWER_TIMEOUT,
    ) -> int:
        """Ask for a change, and wait `patience` seconds at most; returns the number to forget it by."""
        self._last += 1
        number = self._last
        if len(self._pending) >= MAX_PENDING or not self._send(number, verb, url, said):
            done(None)
            return number
        self._pending[number] = (done, self._loop.call_later(patience, self._end, number, None))
        return number

    def awaits(self, number: int) -> bool:
        """Whether the answer of that number is still to come."""
        return number in self._pending

    def take(self, answer: FleetAnswer) -> None:
        """Take an answer; one that nobody waits for any more is dropped."""
        self._end(answer.request_id, answer)

    def forget(self, number: int) -> None:
        """Await an answer no longer. What was asked for may happen all the same."""
        if (pending := self._pending.pop(number, None)) is not None:
            pending[1].cancel()

    def _end(self, number: int, answer: FleetAnswer | None) -> None:
        if (pending := self._pending.pop(number, None)) is not None:
            pending[1].cancel()
            pending[0](answer)
