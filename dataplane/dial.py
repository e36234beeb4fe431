"""One connection to a worker in the making."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dataplane.upstream.connection import UpstreamConnection
from dataplane.upstream.pool import Pool


class Dial:
    """Calls `done` once with the connection or with why there is none, unless it was cancelled before."""

    __slots__ = ("_done", "_is_cancelled", "_task")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Pool,
        timeout: float,
        done: Callable[[UpstreamConnection | None, BaseException | None], None],
    ) -> None:
        """Begin; `timeout` is in seconds."""
        self._done = done
        self._is_cancelled = False
        self._task = loop.create_task(pool.connect(timeout))
        self._task.add_done_callback(self._ended)

    def cancel(self) -> None:
        """Have no connection."""
        self._is_cancelled = True
        self._task.cancel()

    def _ended(self, task: asyncio.Task[UpstreamConnection]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if not self._is_cancelled:
            self._done(None if error is not None else task.result(), error)
        elif error is None:
            # It came in the moment in which nobody wanted it any more.
            task.result().abort()
