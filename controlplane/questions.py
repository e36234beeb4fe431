"""Questions to single planes, and their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.messages import Downward, Upward

MAX_OPEN = 1024
"""Questions whose answers are awaited at a time."""


class Questions:
    """Knows which answers are awaited, by the number that both have."""

    def __init__(self, send: Callable[[str, Downward], None]) -> None:
        """`send` passes a message to the plane of an id; one that can not be sent is never answered."""
        self._send = send
        self._awaited: dict[int, asyncio.Future[Upward]] = {}
        self._last = 0

    async def ask(self, plane: str, question: Callable[[int], Downward], patience: float) -> Upward | None:
        """Return a plane's answer to the question of the number given; None when `patience` seconds are over."""
        if len(self._awaited) >= MAX_OPEN:
            return None
        self._last += 1
        number = self._last
        answer: asyncio.Future[Upward] = asyncio.get_running_loop().create_future()
        self._awaited[number] = answer
        self._send(plane, question(number))
        try:
            async with asyncio.timeout(patience):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._awaited[number]

    def take(self, number: int, answer: Upward) -> None:
        """Take an answer; one that nobody waits for any more is dropped."""
        awaited = self._awaited.get(number)
        if awaited is not None and not awaited.done():
            awaited.set_result(answer)
