"""Addresses that answer, refuse or say nothing; and waiting for a state."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds; what never comes fails the test."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what tests wait for tells nobody when it comes
            await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def listener() -> AsyncIterator[int]:
    """Give the port of a server that takes connections and says nothing."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """Give a port that refuses connections, held so that nobody else gets it."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


@contextlib.contextmanager
def blackhole_port() -> Iterator[int]:
    """Give a port whose queue is full: the kernel drops what else wants to connect, so connecting never ends."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield full.getsockname()[1]
