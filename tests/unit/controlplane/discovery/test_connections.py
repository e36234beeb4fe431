"""The discovery port with real sockets: libzmq's on the other side, and some that misbehave (G-DISC-2)."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import ParamSpec

import pytest
import uvloop
import zmq
import zmq.asyncio

from controlplane.discovery import connections as module
from controlplane.discovery.connections import READ_SIZE, Connection, Connections
from controlplane.discovery.networks import Networks
from controlplane.discovery.refusals import RefusedError
from shared.clock import SystemClock
from tests.unit.controlplane.discovery.test_zmtp import HANDSHAKE, short
from tests.unit.controlplane.waiting import until

P = ParamSpec("P")


class Port:
    """The port, and what came to it."""

    def __init__(self, *allowed: str) -> None:
        self.heard: list[tuple[bytes, str]] = []
        self.refused: Counter[str] = Counter()
        self.number = 0
        self.all = Connections(Networks(allowed), SystemClock(), heard=self._hear, refused=self._refuse)

    def _hear(self, message: bytes, peer: str) -> bytes | None:
        if message == b"bad":
            raise RefusedError("malformed", "it is bad")
        self.heard.append((message, peer))
        return b"yes" if message.startswith(b"ask") else None

    def _refuse(self, error: RefusedError, peer: str) -> None:
        self.refused[error.reason] += 1

    def connect(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.number), timeout=10)
        plain.setblocking(False)
        return plain


@asynccontextmanager
async def listening(*allowed: str) -> AsyncIterator[Port]:
    port = Port(*allowed)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(port.all), "127.0.0.1", 0)
    port.number = server.sockets[0].getsockname()[1]
    try:
        yield port
    finally:
        server.close()
        port.all.close()


@asynccontextmanager
async def peer(port: Port, kind: int = zmq.DEALER, source: str = "") -> AsyncIterator[zmq.asyncio.Socket]:
    context = zmq.asyncio.Context()
    one = context.socket(kind)
    one.setsockopt(zmq.LINGER, 0)
    if kind == zmq.DEALER:
        one.setsockopt(zmq.IDENTITY, b"10.0.0.9:21001")
    one.connect(f"tcp://{source}127.0.0.1:{port.number}")
    try:
        yield one
    finally:
        one.close()
        context.term()


def in_loop(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    """Run a test in the event loop of the control plane."""

    @functools.wraps(test)
    def run(*arguments: P.args, **named: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(test(*arguments, **named))

    return run


async def send(plain: socket.socket, data: bytes) -> None:
    with suppress(ConnectionError):
        await asyncio.get_running_loop().sock_sendall(plain, data)


@in_loop
async def test_a_dealer_is_heard_with_its_address() -> None:
    async with listening() as port, peer(port, source="127.0.0.7:0;") as dealer:
        await dealer.send(b"one")
        await dealer.send(b"bad")
        await dealer.send(b"two")
        await until(lambda: len(port.heard) == 2)
        assert port.heard == [(b"one", "127.0.0.7"), (b"two", "127.0.0.7")]
        assert port.refused == {"malformed": 1}


@pytest.mark.parametrize("kind", [zmq.DEALER, zmq.REQ])
@in_loop
async def test_who_asks_is_answered(kind: int) -> None:
    async with listening() as port, peer(port, kind) as one:
        for _ in range(2):
            await one.send(b"ask")
            assert await asyncio.wait_for(one.recv_multipart(), 30) == [b"yes"]


@in_loop
async def test_a_backlog_is_heard_to_its_end() -> None:
    """A DEALER keeps up to 1,000 pings while the router is away."""
    async with listening() as port, peer(port) as dealer:
        for number in range(1000):
            await dealer.send(b"%d" % number)
        await until(lambda: len(port.heard) == 1000)
        assert [int(message) for message, _ in port.heard] == list(range(1000))


@in_loop
async def test_senders_outside_the_networks_are_closed_at_once() -> None:
    async with listening("10.0.0.0/8") as port, peer(port) as dealer:
        await dealer.send(b"one")
        await until(lambda: port.refused["network"] > 0)
        assert not port.heard
        assert len(port.all) == 0


@in_loop
async def test_one_message_can_not_grow_without_end() -> None:
    """What libzmq would hold until the last frame has come is refused at the second."""
    async with listening() as port:
        with port.connect() as plain:
            await send(plain, HANDSHAKE + short(b"A" * 200, 1) * 20_000)
            await until(lambda: port.refused["protocol"] == 1)
            await until(lambda: len(port.all) == 0)
        assert port.all.held == 0


@in_loop
async def test_a_flood_holds_little_and_delays_nobody_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MESSAGES_A_TURN", 8)
    async with listening() as port, peer(port) as dealer:
        with ExitStack() as stack:
            flooders = [stack.enter_context(port.connect()) for _ in range(10)]
            sending = [send(one, HANDSHAKE + short(b"x" * 100) * 5_000) for one in flooders]
            floods = asyncio.gather(*sending, return_exceptions=True)
            await until(lambda: len(port.all) >= 10 and len(port.heard) > 100)
            await dealer.send(b"real")
            await until(lambda: any(message == b"real" for message, _ in port.heard))
            # They have not all been read before it.
            assert len(port.heard) < 50_000
            assert port.all.held <= 11 * (READ_SIZE + 102)
            floods.cancel()
            await asyncio.gather(floods, return_exceptions=True)


@in_loop
async def test_who_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WORD_WITHIN", 0.0)
    async with listening() as port:
        with port.connect() as plain:
            await send(plain, HANDSHAKE)
            await until(lambda: len(port.all) == 1)
            port.all.sweep()
            assert len(port.all) == 0


@in_loop
async def test_so_many_connections_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CONNECTIONS_OF_ONE", 3)
    async with listening() as port:
        with ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(port.connect())
            await until(lambda: port.refused["connections"] == 2)
            assert len(port.all) == 3
        await until(lambda: len(port.all) == 0)


@in_loop
async def test_half_messages_can_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 20_000)
    half = b"\x02" + (16_000).to_bytes(8, "big") + b"x" * 9_000
    async with listening() as port, peer(port) as dealer:
        with ExitStack() as stack:
            for _ in range(6):
                await send(stack.enter_context(port.connect()), HANDSHAKE + half)
            await until(lambda: port.refused["connections"] > 0)
            await dealer.send(b"real")
            await until(lambda: bool(port.heard))
            assert port.all.held <= 30_000
