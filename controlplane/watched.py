"""A process whose end is noticed the moment it happens, whoever its parent is."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from controlplane.children import Process
from shared.clock import Clock


class Watched:
    """Watches one process through its pidfd, from inside the running loop.

    `code` is its exit code, negative for the signal that ended it; None while it runs, and for a process
    that is not our child, of which nobody tells us.
    """

    def __init__(self, process: Process, name: str, clock: Clock, on_end: Callable[[], None] | None = None) -> None:
        self.name = name
        self.pid = process.pid
        self.is_own_child = process.popen is not None
        self.code: int | None = None
        self.lifetime = 0.0
        """Seconds that it lived; set at its end."""
        self._process = process
        self._clock = clock
        self._on_end = on_end
        self._born = clock.monotonic() - max(0.0, clock.wall() - process.record.started)
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(process.pidfd, self._end)

    def _end(self) -> None:
        self._loop.remove_reader(self._process.pidfd)
        os.close(self._process.pidfd)
        if self._process.popen is not None:
            # It has ended, so this only collects its status.
            self.code = self._process.popen.wait()
        self.lifetime = self._clock.monotonic() - self._born
        self._ended.set()
        if self._on_end is not None:
            self._on_end()

    @property
    def is_alive(self) -> bool:
        """Whether its end has not been seen yet."""
        return not self._ended.is_set()

    @property
    def cause(self) -> str:
        """How it ended, for people."""
        if self.code is None:
            return "ended (an earlier supervisor's child: its exit status is not known)"
        if self.code < 0:
            return f"was killed by {signal.Signals(-self.code).name}"
        return f"exited with code {self.code}"

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.is_alive:
            self._process.send(number)

    def kill(self) -> None:
        """Send SIGKILL, if it still runs."""
        self.send(signal.SIGKILL)

    async def wait(self) -> None:
        """Wait for its end."""
        await self._ended.wait()

    async def end(self, grace: float) -> bool:
        """Send SIGTERM and after `grace` seconds SIGKILL; return whether it ended without the latter."""
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                await self._ended.wait()
                return True
        except TimeoutError:
            self.kill()
            await self._ended.wait()
            return False
