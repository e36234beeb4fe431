"""One task per worker of the registry: it begins when the worker comes and ends when the worker goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from controlplane.registry import Registry
from shared.table import Worker


class Following:
    """Runs `watch` once for each life of a worker in the registry."""

    def __init__(self, registry: Registry, watch: Callable[[Worker], Coroutine[None, None, None]]) -> None:
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
        members = {member.worker.id: member.worker for member in self._registry.members()}
        for key in [key for key in self._tasks if key not in members]:
            self._tasks.pop(key).cancel()
        for key, worker in members.items():
            if key not in self._tasks:
                self._tasks[key] = self._group.create_task(self._watch(worker))
