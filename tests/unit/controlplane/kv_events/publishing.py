"""A publisher on real sockets that can be told to lose messages, and to be another one on the same ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import zmq
import zmq.asyncio

from tests.unit.controlplane.kv_events.engine import SIZE, hashes_of

END = b"\xff" * 8


def stored_map(tokens: Sequence[int]) -> dict[str, Any]:
    """The event of a prompt's blocks, in today's encoding."""
    hashes = hashes_of(tokens)
    return {
        "type": "BlockStored",
        "block_hashes": hashes,
        "parent_block_hash": None,
        "token_ids": list(tokens),
        "block_size": SIZE,
        "lora_id": None,
        "medium": "GPU",
        "lora_name": None,
    }


class Publisher:
    """vLLM's publisher: numbers from 0, and a buffer for replays."""

    def __init__(self, context: zmq.asyncio.Context, *, has_replay: bool = True, buffer: int = 100) -> None:
        self._context = context
        self._size = buffer
        self._time = 1e9
        self.replays: list[int] = []
        self._router = self._bound(zmq.ROUTER, "*")
        self.replay_endpoint = _endpoint(self._router) if has_replay else None
        self._begin("*")

    def _bound(self, kind: int, port: str) -> zmq.asyncio.Socket:
        socket: zmq.asyncio.Socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        # A replay is sent all at once: on a busy machine a full queue would drop a part of it.
        socket.setsockopt(zmq.SNDHWM, 0)
        try:
            socket.bind(f"tcp://127.0.0.1:{port}")
        except zmq.ZMQError:
            socket.close()
            raise
        return socket

    def _begin(self, port: str) -> None:
        self._pub = self._bound(zmq.PUB, port)
        self.endpoint = _endpoint(self._pub)
        self._buffer: list[tuple[bytes, bytes]] = []
        self._next = 0

    async def restart(self) -> None:
        """Be another engine on the same ports."""
        self._pub.close()
        port = self.endpoint.rpartition(":")[2]
        async with asyncio.timeout(30):
            while True:
                # ZeroMQ closes in a thread of its own.
                with suppress(zmq.ZMQError):
                    self._begin(port)
                    return
                await asyncio.sleep(0.01)

    async def publish(self, *events: Any, lost: bool = False, frames: Sequence[bytes] | None = None) -> None:
        """Publish a batch; `lost` on the way, or with other `frames` than its own."""
        self._time += 1
        payload = msgspec.msgpack.encode([self._time, list(events), 0])
        number = self._next.to_bytes(8, "big")
        self._next += 1
        self._buffer = [*self._buffer, (number, payload)][-self._size :]
        if not lost:
            await self._pub.send_multipart(frames or [b"kv-events", number, payload])

    async def answer(self) -> None:
        """Answer replay requests until cancelled."""
        while True:
            client, _, start = await self._router.recv_multipart()
            self.replays.append(int.from_bytes(start, "big"))
            for number, payload in self._buffer:
                if number >= start:
                    await self._router.send_multipart([client, b"", b"kv-events", number, payload])
            await self._router.send_multipart([client, b"", b"", END, b""])


def _endpoint(socket: zmq.asyncio.Socket) -> str:
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)


@asynccontextmanager
async def context() -> AsyncIterator[zmq.asyncio.Context]:
    made = zmq.asyncio.Context()
    try:
        yield made
    finally:
        made.destroy(linger=0)
