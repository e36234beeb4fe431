"""The sockets of a worker that publishes its KV events: PUB, and ROUTER for those who missed some."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import zmq
import zmq.asyncio

TOPIC = b"kv-events"
BUFFER_STEPS = 10_000
"""Messages kept for replays, vLLM's default."""
_END = b"\xff" * 8


class KvPublisher:
    """Publishes payloads under numbers from 0; `run` answers those who ask for past ones."""

    def __init__(self, host: str, buffer_steps: int = BUFFER_STEPS) -> None:
        """Bind to free ports of a host."""
        self._context = zmq.asyncio.Context()
        self._pub = self._context.socket(zmq.PUB)
        self._replay = self._context.socket(zmq.ROUTER)
        for socket in (self._pub, self._replay):
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.IPV6, ":" in host)
            socket.bind(f"tcp://[{host}]:*" if ":" in host else f"tcp://{host}:*")
        self._buffer: deque[tuple[bytes, bytes]] = deque(maxlen=buffer_steps)
        self._next = 0

    def describe(self) -> dict[str, Any]:
        """Return this rank's entry of `/kv_event_sources`."""
        return {
            "enable_kv_cache_events": True,
            "publisher": "zmq",
            "endpoint": _as_vllm_says(self._pub),
            "replay_endpoint": _as_vllm_says(self._replay),
            "buffer_steps": self._buffer.maxlen,
            "hwm": 100_000,
            "max_queue_size": 100_000,
            "topic": TOPIC.decode(),
        }

    def publish(self, payload: bytes) -> None:
        """Send a batch to whoever listens."""
        number = self._next.to_bytes(8, "big")
        self._next += 1
        self._buffer.append((number, payload))
        # Of a PUB socket this never waits: pyzmq tries at the call and returns a future that is done.
        cast("asyncio.Future[None]", self._pub.send_multipart([TOPIC, number, payload], zmq.DONTWAIT)).exception()

    async def run(self) -> None:
        """Answer replay requests until cancelled."""
        while True:
            client, *rest = await self._replay.recv_multipart()
            if len(rest) != 2:
                continue
            for number, payload in tuple(self._buffer):
                if number >= rest[1]:
                    await self._replay.send_multipart([client, b"", TOPIC, number, payload])
            await self._replay.send_multipart([client, b"", b"", _END, b""])

    def close(self) -> None:
        """Close the sockets."""
        self._pub.close()
        self._replay.close()
        self._context.term()


def _as_vllm_says(socket: zmq.asyncio.Socket) -> str:
    port = socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2]
    return f"tcp://*:{port}"
