"""A port that lets in by keys, and its clients, played in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from shared.sockets import Context, Socket


class Scene(Protocol):
    """What is played: a port that serves until cancelled, and the sockets of its clients."""

    context: Context
    sockets: list[Socket]

    def serve(self) -> Coroutine[Any, Any, None]: ...


S = TypeVar("S", bound=Scene)


def play(make: Callable[[], S], story: Callable[[S], Awaitable[None]]) -> None:
    """Have the port serve while the story is told; a story that takes 30 s fails."""

    async def main() -> None:
        scene = make()
        try:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(scene.serve())
                async with asyncio.timeout(30):
                    await story(scene)
                for one in scene.sockets:
                    one.close()
                task.cancel()
        finally:
            scene.context.destroy(linger=0)

    asyncio.run(main())
