"""Every ZeroMQ socket is made here, with its limits, so that no queue is unbounded and no close hangs."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, NamedTuple, cast
from uuid import uuid4

import zmq
import zmq.asyncio

from shared.messages import (
    MAX_MESSAGE_SIZE,
    TOPIC_HEARTBEAT,
    TOPIC_INFLIGHT,
    TOPIC_KV,
    TOPIC_LEARNT,
    TOPIC_LOAD,
    TOPIC_TABLE,
)

if TYPE_CHECKING:
    # Only for those who use it: it loads what reads key files.
    from shared.plane_keys import KeyPair

WELCOME = b"w"
"""What XPUB sends to each new subscriber: proof that the subscription is in place."""

ZAP_DOMAIN = b"planes"
"""Under which the library that checks keys (ZAP, RFC 27) is asked about planes on other hosts."""
MAX_SUBSCRIPTION = 1024
"""Bytes that a plane on another host may send to the publisher at a time: subscriptions, of one byte each."""
MAX_REPORT = 16 * 1024 * 1024
"""Bytes of one message from a plane on another host: its figures about 10,000 workers are some 3 MB."""
HANDSHAKE_TIMEOUT = 3.0
"""Seconds that a connection from another host may take to prove its key: a handshake is four turns of a network."""
_PING_INTERVAL = 1.0
_PING_TIMEOUT = 3.0
"""Seconds without any sign after which a connection to another host is taken for broken and made anew."""
_TCP_RECONNECT = (100, 200)
_TCP_RECONNECT_LIMIT = (1000, 2000)
"""Milliseconds: ranges from which each connection to another host draws its first and its longest pause."""
_MAX_EVENTS = 100_000

_TOPICS = (TOPIC_TABLE, TOPIC_HEARTBEAT, TOPIC_LOAD, TOPIC_INFLIGHT, TOPIC_LEARNT, TOPIC_KV)

Socket = zmq.asyncio.Socket
Context = zmq.asyncio.Context


def _socket(context: Context, kind: int, *, queue: int) -> Socket:
    socket: Socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, queue)
    socket.setsockopt(zmq.RCVHWM, queue)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_SIZE)
    return socket


class ClientKeys(NamedTuple):
    """A plane's own pair, and the public key that it expects of the control plane."""

    pair: KeyPair
    server: bytes


def publisher(context: Context, endpoint: str, keys: KeyPair | None = None) -> Socket:
    """XPUB, bound. A plane that does not read loses frames (and sees the gap) instead of filling our memory.

    With `keys` planes have to prove theirs. Raises zmq.ZMQError when the endpoint can not be had.
    """
    socket = _socket(context, zmq.XPUB, queue=1000)
    socket.setsockopt(zmq.XPUB_WELCOME_MSG, WELCOME)
    return _bound(socket, endpoint, keys, largest=MAX_SUBSCRIPTION)


def subscriber(context: Context, endpoint: str, keys: ClientKeys | None = None, rng: Random | None = None) -> Socket:
    """SUB, connected; it connects again by itself, at most 250 ms after the publisher is back (with `keys`: 2 s)."""
    socket = _socket(context, zmq.SUB, queue=1000)
    _reconnect(socket, endpoint, keys, rng)
    for topic in (WELCOME, *_TOPICS):
        socket.setsockopt(zmq.SUBSCRIBE, topic)
    socket.connect(endpoint)
    return socket


def control_server(context: Context, endpoint: str, keys: KeyPair | None = None) -> Socket:
    """ROUTER, bound; a returning identity takes its place over at once. `keys` as for `publisher`."""
    socket = _socket(context, zmq.ROUTER, queue=1000)
    socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    return _bound(socket, endpoint, keys, largest=MAX_REPORT)


def registration_server(context: Context, endpoint: str, keys: KeyPair, *, largest: int) -> Socket:
    """ROUTER over TCP for workers that register and prove their keys, bound. Messages have at most `largest` bytes."""
    return _bound(_socket(context, zmq.ROUTER, queue=1000), endpoint, keys, largest=largest)


def control_client(
    context: Context, endpoint: str, identity: bytes, keys: ClientKeys | None = None, rng: Random | None = None
) -> Socket:
    """DEALER, connected. Its queue is short: reports that nobody takes are old news, and sending drops them."""
    socket = _socket(context, zmq.DEALER, queue=64)
    socket.setsockopt(zmq.IDENTITY, identity)
    _reconnect(socket, endpoint, keys, rng)
    # Without this a report would queue before the connection is made and arrive out of its time.
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.connect(endpoint)
    return socket


def registrar(context: Context, endpoint: str, keys: ClientKeys | None, rng: Random, *, largest: int) -> Socket:
    """DEALER over TCP for a worker's registrations; it takes answers of at most `largest` bytes.

    Whoever uses it connects it to the endpoint, and watches it before. What nobody takes is dropped: the next one says
    it all.
    """
    socket = _socket(context, zmq.DEALER, queue=16)
    socket.setsockopt(zmq.MAXMSGSIZE, largest)
    socket.setsockopt(zmq.HANDSHAKE_IVL, int(HANDSHAKE_TIMEOUT * 1000))
    socket.setsockopt(zmq.IMMEDIATE, 1)
    _reconnect_over_tcp(socket, endpoint, rng)
    if keys is not None:
        _prove(socket, keys)
    return socket


def _bound(socket: Socket, endpoint: str, keys: KeyPair | None, *, largest: int) -> Socket:
    try:
        if keys is not None:
            _over_tcp(socket, endpoint)
            socket.setsockopt(zmq.MAXMSGSIZE, largest)
            socket.setsockopt(zmq.HANDSHAKE_IVL, int(HANDSHAKE_TIMEOUT * 1000))
            socket.setsockopt(zmq.CURVE_SERVER, 1)
            socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
            socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
            # Without it everybody would get in while nobody checks keys.
            socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.bind(endpoint)
    except zmq.ZMQError:
        socket.close()
        raise
    return socket


def _reconnect(socket: Socket, endpoint: str, keys: ClientKeys | None, rng: Random | None) -> None:
    """Set the pauses between attempts to connect, and who is to be found there."""
    if keys is not None:
        _reconnect_over_tcp(socket, endpoint, rng or Random())
        _prove(socket, keys)
        return
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 250)


def _reconnect_over_tcp(socket: Socket, endpoint: str, rng: Random) -> None:
    # libzmq doubles its pauses without any jitter: a fleet that lost its control plane must not come back as one.
    _over_tcp(socket, endpoint)
    socket.setsockopt(zmq.RECONNECT_IVL, rng.randint(*_TCP_RECONNECT))
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, rng.randint(*_TCP_RECONNECT_LIMIT))


def _prove(socket: Socket, keys: ClientKeys) -> None:
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.pair.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.pair.secret)
    socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server)


def _over_tcp(socket: Socket, endpoint: str) -> None:
    # A link that goes silent without a word is seen by both ends.
    socket.setsockopt(zmq.HEARTBEAT_IVL, int(_PING_INTERVAL * 1000))
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(_PING_TIMEOUT * 1000))
    if "[" in endpoint:
        socket.setsockopt(zmq.IPV6, 1)


def watched(context: Context, socket: Socket, events: int) -> Socket:
    """PAIR on which a socket's connections tell of these events; close it after `socket.disable_monitor()`.

    Of what came about before nothing is told: a connection on this host is there within a millisecond.
    """
    watcher: Socket = context.socket(zmq.PAIR)
    watcher.setsockopt(zmq.LINGER, 0)
    # A full queue would stop the thread that all sockets share.
    watcher.setsockopt(zmq.RCVHWM, _MAX_EVENTS)
    endpoint = f"inproc://events-{uuid4()}"
    socket.monitor(endpoint, events)
    watcher.connect(endpoint)
    return watcher


def send_or_drop(socket: Socket, frames: list[bytes]) -> bool:
    """Send without waiting; False when the queue is full or nobody is connected, and the message is dropped."""
    # With DONTWAIT pyzmq tries at the call and returns a future that is already done.
    sent = cast("asyncio.Future[None]", socket.send_multipart(frames, zmq.DONTWAIT))
    return sent.exception() is None


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
