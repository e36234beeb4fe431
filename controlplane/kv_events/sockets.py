"""The sockets to vLLM's KV event publishers, each with its limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import zmq
import zmq.asyncio

MAX_FRAME = 8 * 1024 * 1024
"""Bytes: the tokens of a prompt of 10**6 are half of it. Of a larger one ZeroMQ drops the connection."""
MAX_QUEUED = 256
"""Messages that wait to be read; with more, the publisher drops those that it can not send, which shows as a gap."""
MAX_REPLAYED = 20_000
"""Messages of a replay that wait to be read: twice vLLM's buffer. It sends all at once and drops what does not fit."""
REPLAYS_AT_ONCE = 4
"""Of all engines; others wait their turn, for the memory that so many messages may take."""
REPLAY_PATIENCE = 3.0
"""Seconds without a message after which a replay is given up."""
END = b"\xff" * 8
"""The number (-1) of what follows the last message of a replay."""

Context = zmq.asyncio.Context
Socket = zmq.asyncio.Socket


def _socket(context: Context, kind: int, queue: int = MAX_QUEUED) -> Socket:
    socket: Socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.RCVHWM, queue)
    socket.setsockopt(zmq.SNDHWM, 8)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
    socket.setsockopt(zmq.IPV6, 1)
    return socket


def events_socket(context: Context, endpoint: str, topic: str) -> Socket:
    """SUB, connected; it connects again by itself, after 2 s at most. Raises ZMQError for an impossible endpoint."""
    socket = _socket(context, zmq.SUB)
    socket.setsockopt(zmq.RECONNECT_IVL, 100)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
    # A peer whose machine is gone closes nothing.
    socket.setsockopt(zmq.HEARTBEAT_IVL, 5000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 10000)
    socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
    try:
        socket.connect(endpoint)
    except zmq.ZMQError:
        socket.close()
        raise
    return socket


async def replayed(context: Context, endpoint: str, start: int) -> AsyncGenerator[tuple[int, bytes]]:
    """Yield number and payload of the messages that a publisher still has, from `start` on.

    Raises TimeoutError when it breaks off, ZMQError for an impossible endpoint.
    """
    socket = _socket(context, zmq.DEALER, MAX_REPLAYED)
    try:
        socket.connect(endpoint)
        await socket.send_multipart([b"", start.to_bytes(8, "big")])
        while True:
            async with asyncio.timeout(REPLAY_PATIENCE):
                frames: list[bytes] = await socket.recv_multipart()
            # Old versions leave the topic out.
            if len(frames) < 3 or len(frames[-2]) != 8:
                continue
            if frames[-2] == END:
                return
            yield int.from_bytes(frames[-2], "big"), frames[-1]
    finally:
        socket.close()
