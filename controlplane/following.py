"""One task per server of the registry: it begins when its first worker comes and ends when its last one goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from controlplane.registry import Registry


class Following:
    """Runs `watch` for each URL of the registry's workers: data-parallel ranks share a server."""

    def __init__(self, registry: Registry, watch: Callable[[str], Coroutine[None, None, None]]) -> None:
        self._registry = registry
        self._watch = watch
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._group:
                self.update()
                await asyncio.Event().wait()
        finally:
            self._group = None
            self._tasks.clear()

    def update(self) -> None:
        """Take note of workers that came or went. Called after each change of membership."""
        if self._group is None:
            return
        urls = dict.fromkeys(member.worker.url for member in self._registry.members())
        for url in [url for url in self._tasks if url not in urls]:
            self._tasks.pop(url).cancel()
        for url in urls:
            if url not in self._tasks:
                self._tasks[url] = self._group.create_task(self._watch(url))
