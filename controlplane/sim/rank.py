"""One data-parallel rank of a simulated worker: its engine, the clock that drives it, and its KV events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from .config import SimConfig
from .engine import Engine, Sequence
from .kv_log import KvLog
from .kv_publisher import KvPublisher


class Rank:
    """An engine; a worker without data parallelism has one."""

    def __init__(self, number: int, config: SimConfig, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        self._loop = loop
        self._kv_log = KvLog(config.block_size) if config.kv_events else None
        self.kv_publisher = KvPublisher(config.host, config.kv_events_buffer_steps) if config.kv_events else None
        self.engine = Engine(config, self._kv_log)
        self._listeners: dict[Sequence, Callable[[], None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def requests(self) -> int:
        """How many run and wait."""
        return len(self.engine.running) + len(self.engine.waiting)

    @property
    def score(self) -> int:
        """How full it is, as vLLM's own balancer counts."""
        return len(self.engine.running) + 4 * len(self.engine.waiting)

    def submit(self, sequences: Iterable[Sequence], listener: Callable[[], None]) -> None:
        """Queue sequences; the listener is called whenever some of them got tokens."""
        now = time.monotonic()
        for sequence in sequences:
            self._listeners[sequence] = listener
            self.engine.submit(sequence, now)
        self._drive(now)

    def abort(self, sequences: Iterable[Sequence]) -> None:
        """End sequences whose client is gone."""
        for sequence in sequences:
            self._listeners.pop(sequence, None)
            self.engine.abort(sequence)
        self._drive(time.monotonic())

    def forget_cache(self) -> None:
        """Have nothing cached any more."""
        self.engine.pool.forget()
        self._publish()

    def _tick(self) -> None:
        self._timer = None
        self._drive(time.monotonic())

    def _drive(self, now: float) -> None:
        called: dict[Callable[[], None], None] = {}
        for sequence in self.engine.advance(now):
            if sequence.finish_reason is None:
                called[self._listeners[sequence]] = None
            else:
                called[self._listeners.pop(sequence)] = None
        next_time = self.engine.next_time
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if next_time is not None:
            self._timer = self._loop.call_later(max(0.0, next_time - now), self._tick)
        self._publish()
        for listener in called:
            listener()

    def _publish(self) -> None:
        """Send what the engine has told of its blocks."""
        if self._kv_log is not None and self.kv_publisher is not None:
            payload = self._kv_log.batch(time.time(), self.number)
            if payload is not None:
                self.kv_publisher.publish(payload)

    def stop(self) -> None:
        """Drop everything: the process ends."""
        if self.kv_publisher is not None:
            self.kv_publisher.close()
        if self._timer is not None:
            self._timer.cancel()
