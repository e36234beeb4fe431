"""A worker that answers what a test tells it to, in the test's own event loop. Stopping it frees its port at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from pathlib import Path

DATA = Path(__file__).parent / "data"


def captured_body(name: str) -> bytes:
    """Return the body of an answer that was captured from a real vLLM server."""
    data = (DATA / name).read_bytes()
    blank = b"\r\n\r\n" if b"\r\n\r\n" in data else b"\n\n"
    return data.partition(blank)[2]


class FakeWorker:
    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {
            "/health": (200, b""),
            "/version": (200, b'{"version":"0.32.0"}'),
            "/v1/models": (200, captured_body("get_models.http")),
            "/metrics": (200, captured_body("metrics.http")),
        }
        self.hangs: set[str] = set()
        self.seen: Counter[str] = Counter()
        self.port = 0
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.StreamWriter, asyncio.Event] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    async def start(self) -> None:
        """Listen; on the port of before, if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Be as dead as a killed process."""
        assert self._server is not None
        self._server.close()
        for writer, ended in tuple(self._connections.items()):
            writer.transport.abort()
            await ended.wait()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended = self._connections[writer] = asyncio.Event()
        self.connections += 1
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    path = head.split(b" ", 2)[1].decode()
                    self.seen[path] += 1
                    if path in self.hangs:
                        await reader.read()
                        return
                    status, body = self.answers.get(path, (404, b"{}"))
                    writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))
                    await writer.drain()
        finally:
            del self._connections[writer]
            writer.close()
            ended.set()
