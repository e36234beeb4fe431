"""Every ZeroMQ socket is made here, with its limits, so that no queue is unbounded and no close hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import cast

import zmq
import zmq.asyncio

from shared.messages import MAX_MESSAGE_SIZE, TOPIC_HEARTBEAT, TOPIC_INFLIGHT, TOPIC_LOAD, TOPIC_TABLE

WELCOME = b"w"
"""What XPUB sends to each new subscriber: proof that the subscription is in place."""

_TOPICS = (TOPIC_TABLE, TOPIC_HEARTBEAT, TOPIC_LOAD, TOPIC_INFLIGHT)

Socket = zmq.asyncio.Socket
Context = zmq.asyncio.Context


def _socket(context: Context, kind: int, *, queue: int) -> Socket:
    socket: Socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, queue)
    socket.setsockopt(zmq.RCVHWM, queue)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_SIZE)
    return socket


def publisher(context: Context, endpoint: str) -> Socket:
    """XPUB, bound. A plane that does not read loses frames (and sees the gap) instead of filling our memory."""
    socket = _socket(context, zmq.XPUB, queue=1000)
    socket.setsockopt(zmq.XPUB_WELCOME_MSG, WELCOME)
    socket.bind(endpoint)
    return socket


def subscriber(context: Context, endpoint: str) -> Socket:
    """SUB, connected; it connects again by itself, at most 250 ms after the publisher is back."""
    socket = _socket(context, zmq.SUB, queue=1000)
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 250)
    for topic in (WELCOME, *_TOPICS):
        socket.setsockopt(zmq.SUBSCRIBE, topic)
    socket.connect(endpoint)
    return socket


def control_server(context: Context, endpoint: str) -> Socket:
    """ROUTER, bound; a returning identity takes its place over at once."""
    socket = _socket(context, zmq.ROUTER, queue=1000)
    socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    socket.bind(endpoint)
    return socket


def control_client(context: Context, endpoint: str, identity: bytes) -> Socket:
    """DEALER, connected. Its queue is short: reports that nobody takes are old news, and sending drops them."""
    socket = _socket(context, zmq.DEALER, queue=64)
    socket.setsockopt(zmq.IDENTITY, identity)
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 250)
    # Without this a report would queue before the connection is made and arrive out of its time.
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.connect(endpoint)
    return socket


def send_or_drop(socket: Socket, frames: list[bytes]) -> bool:
    """Send without waiting; False when the queue is full or nobody is connected, and the message is dropped."""
    # With DONTWAIT pyzmq tries at the call and returns a future that is already done.
    sent = cast("asyncio.Future[None]", socket.send_multipart(frames, zmq.DONTWAIT))
    return sent.exception() is None


def remove_stale_socket(path: Path, in_use: Callable[[], bool]) -> None:
    """Remove the file of a socket whose owner is gone, so that nobody connects to it for nothing."""
    if path.exists() and not in_use():
        path.unlink(missing_ok=True)


async def ask(context: Context, endpoint: str, frame: bytes, *, timeout: float) -> bytes | None:
    """Send one frame to a ROUTER and return its answer's one frame; None when none comes within `timeout` seconds."""
    socket = _socket(context, zmq.DEALER, queue=8)
    try:
        socket.connect(endpoint)
        await socket.send(frame)
        async with asyncio.timeout(timeout):
            answer: bytes = await socket.recv()
            return answer
    except TimeoutError:
        return None
    finally:
        socket.close()
