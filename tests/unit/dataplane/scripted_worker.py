"""A worker on a real socket whose every answer is a script of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.unit.dataplane.listening import until


class Asked:
    """A request as the worker read it, and the means to answer or to misbehave."""

    def __init__(
        self, head: bytes, body: bytes, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        line, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
        self.line = line
        self.fields = [(name, value) for name, value in (field.split(b": ", 1) for field in fields)]
        self.body = body
        self.number = number
        """Which request on its connection this is, from 1."""
        self._reader = reader
        self._writer = writer

    def field(self, name: bytes) -> bytes | None:
        return dict(self.fields).get(name)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, body: bytes = b"ok", *, status: int = 200, fields: bytes = b"") -> None:
        await self.write(b"HTTP/1.1 %d X\r\n%bcontent-length: %d\r\n\r\n%b" % (status, fields, len(body), body))

    async def begin(self, *, fields: bytes = b"content-type: text/event-stream\r\n") -> None:
        await self.write(b"HTTP/1.1 200 OK\r\n%btransfer-encoding: chunked\r\n\r\n" % fields)

    async def chunk(self, data: bytes) -> None:
        await self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        await self.write(b"0\r\n\r\n")

    async def close(self) -> None:
        """Close as a server does that has nothing more to say."""
        self._writer.close()

    async def reset(self) -> None:
        self._writer.transport.abort()

    async def hang(self) -> None:
        """Say nothing more, until the router closes the connection."""
        await self._reader.read()


Script = Callable[[Asked], Awaitable[None]]


class ScriptedWorker:
    """Each request is answered by `script`; the test may change it at any time."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.connections = 0
        """All that were ever taken."""
        self.open = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()
        await until(lambda: not self._writers)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self._writers.add(writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                number = 0
                while not writer.is_closing():
                    number += 1
                    head = await reader.readuntil(b"\r\n\r\n")
                    asked = Asked(head, b"", number, reader, writer)
                    if length := asked.field(b"content-length"):
                        asked.body = await reader.readexactly(int(length))
                    self.asked.append(asked)
                    await self.script(asked)
        finally:
            self.open -= 1
            self._writers.discard(writer)
            writer.close()
