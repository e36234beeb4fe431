"""Keeps a plane's replica current: gives it messages and time, and sends what it asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from dataplane.kv.replica import Ask, Replica
from shared.kv_messages import KvPage, KvStanding, KvUpdate


class KvFollower:
    """`send` passes a question on and returns whether it went out."""

    def __init__(self, rng: Random, send: Callable[[Ask], bool]) -> None:
        self._rng = rng
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.replica = Replica(rng)

    def take(self, message: KvUpdate | KvStanding | KvPage) -> None:
        """Take in what the control plane says."""
        now = self._loop.time()
        match message:
            case KvUpdate():
                self._ask(self.replica.on_update(message, now))
            case KvStanding():
                self._ask(self.replica.on_standing(message, now))
            case KvPage():
                self._ask(self.replica.on_page(message, now))

    def forget(self) -> None:
        """Know nothing: nobody wants it any more."""
        before, self.replica = self.replica, Replica(self._rng)
        # They are counted since the plane started.
        self.replica.resyncs, self.replica.malformed = before.resyncs, before.malformed
        self._plan()

    def _tick(self) -> None:
        self._timer = None
        self._ask(self.replica.on_tick(self._loop.time()))

    def _ask(self, asks: list[Ask]) -> None:
        for ask in asks:
            if not self._send(ask):
                self.replica.on_unsent(ask.request_id, self._loop.time())
        self._plan()

    def _plan(self) -> None:
        due = self.replica.next_tick()
        if self._timer is not None:
            if due is not None and self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = None if due is None else self._loop.call_at(due, self._tick)
