"""One router's connection, before a socket that is there already."""

from __future__ import annotations

import asyncio
from random import Random

import zmq

from controlplane.register.line import Line
from shared.clock import SystemClock
from shared.registration import Hello, decode_from_engine
from shared.remote_address import TcpAddress
from shared.sockets import Context

HELLO = Hello(registrar="one", seq=1, url="http://10.0.0.1:8000", epoch=1)


async def first_frame() -> bytes:
    """What a router hears first of a registrar that sends nothing by itself; each connection comes about at once."""
    context = Context()
    try:
        router = context.socket(zmq.ROUTER)
        address = TcpAddress("127.0.0.1", router.bind_to_random_port("tcp://127.0.0.1"))
        line = Line(
            context,
            address,
            None,
            SystemClock(),
            Random(1),
            interval=1.0,
            greeting=lambda: HELLO,
            accepted=lambda: None,
        )
        running = asyncio.create_task(line.run())
        try:
            async with asyncio.timeout(30):
                frames: list[bytes] = await router.recv_multipart()
                return frames[-1]
        finally:
            running.cancel()
            await asyncio.wait([running])
    finally:
        context.destroy(linger=0)


def test_a_router_is_greeted_however_soon_the_connection_is_there() -> None:
    """It can be there before the next line of our code: it must not go unnoticed then, for nothing else tells of it."""

    async def run() -> None:
        for _ in range(30):
            assert decode_from_engine(await first_frame()) == HELLO

    asyncio.run(run())
