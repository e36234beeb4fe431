"""Follows one publisher: its sockets, moved as `stream.py` says, and the feed told what comes of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import aclosing

import zmq

from controlplane.kv_events.decode import BadEventsError, decode
from controlplane.kv_events.feed import Feed, SourceKey
from controlplane.kv_events.pace import Pace
from controlplane.kv_events.sockets import Context, Socket, events_socket, replayed
from controlplane.kv_events.sources import Endpoint
from controlplane.kv_events.stream import Action, Apply, Purge, Replay, Stream
from shared.clock import Clock

log = logging.getLogger(__name__)


class Subscription:
    """One publisher. `changed` is called whenever the feed has something to tell.

    `messages` counts what was read, `malformed` what was dropped of it: messages, and events of messages.
    """

    def __init__(
        self,
        context: Context,
        key: SourceKey,
        endpoint: Endpoint,
        feed: Feed,
        changed: Callable[[], None],
        clock: Clock,
        pace: Pace,
        replays: asyncio.Semaphore,
    ) -> None:
        """`pace` and `replays` are those of all publishers together."""
        self.malformed = 0
        self.messages = 0
        self._context = context
        self._key = key
        self._endpoint = endpoint
        self._feed = feed
        self._changed = changed
        self._clock = clock
        self._pace = pace
        self._replays = replays
        self._stream = Stream(has_replay=endpoint.replay is not None)
        self._group: asyncio.TaskGroup | None = None
        self._replay_task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            socket = events_socket(self._context, self._endpoint.events, self._endpoint.topic)
        except zmq.ZMQError as error:
            log.warning("worker %s: KV events at %s: %s", self._key.worker, self._endpoint.events, error)
            return
        self._feed.add(self._key, self._endpoint.block_size)
        self._changed()
        try:
            async with asyncio.TaskGroup() as self._group:
                self._perform(self._stream.begin())
                await self._read(socket)
        finally:
            self._group = None
            socket.close()
            self._feed.remove(self._key)
            self._changed()

    async def _read(self, socket: Socket) -> None:
        while True:
            frames: list[bytes] = await socket.recv_multipart()
            self.messages += 1
            if len(frames) == 3 and len(frames[1]) == 8:
                self._take(int.from_bytes(frames[1], "big"), frames[2], self._stream.live)
            else:
                self.malformed += 1
            await self._give_way(sum(map(len, frames)))

    async def _give_way(self, size: int) -> None:
        """Let others have their turn after a message: receiving from a full queue never waits."""
        await asyncio.sleep(self._pace.wait_after(size, self._clock.monotonic()))

    def _take(self, number: int, payload: bytes, take: Callable[..., list[Action]]) -> None:
        try:
            batch = decode(payload)
        except BadEventsError:
            self.malformed += 1
            return
        self.malformed += batch.malformed
        self._perform(take(number, batch))

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Apply(batch):
                    self._feed.apply(self._key, batch.events)
                case Purge(reason):
                    log.warning(
                        "worker %s, rank %d: its KV index is empty now: %s", self._key.worker, self._key.rank, reason
                    )
                    self._feed.purge(self._key)
                case Replay(start):
                    self._ask_replay(start)
            self._changed()

    def _ask_replay(self, start: int) -> None:
        if self._replay_task is not None:
            self._replay_task.cancel()
        if self._group is not None:
            self._replay_task = self._group.create_task(self._replay(start))

    async def _replay(self, start: int) -> None:
        complete = False
        endpoint = self._endpoint.replay
        assert endpoint is not None  # noqa: S101 - the machine asks for no replay without
        try:
            async with self._replays, aclosing(replayed(self._context, endpoint, start)) as messages:
                async for number, payload in messages:
                    self._take(number, payload, self._stream.replayed)
                    await self._give_way(len(payload))
            complete = True
        except (TimeoutError, zmq.ZMQError) as error:
            why = str(error) or "no answer"
            log.warning("worker %s: replay of KV events at %s: %s", self._key.worker, endpoint, why)
        self._replay_task = None
        self._perform(self._stream.replay_ended(complete=complete))
