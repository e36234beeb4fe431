"""A worker of a known capacity and clients that keep asking, in one event loop, for `scripts/bench admission`."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_MODELS = b'{"object":"list","data":[{"id":"m","object":"model"}]}'
_BODY = b'{"model":"m","prompt":"x","stream":true}'
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_FIRST = b"8\r\ndata: 1\n\r\n"
_END = b"0\r\n\r\n"


class Worker:
    """Does `slots` requests at a time, each for `seconds`; others wait in it. `begun` has when each came to it.

    The first byte comes after half of the time, as a prompt has to be computed before.
    """

    def __init__(self, slots: int, seconds: float) -> None:
        self.seconds = seconds
        self.begun: list[float] = []
        self.open = 0
        self.peak = 0
        self.address = ""
        self._slots = asyncio.Semaphore(slots)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *fields = head.lower().split(b"\r\n")
                length = next((int(one[16:]) for one in fields if one.startswith(b"content-length: ")), 0)
                await reader.readexactly(length)
                if line.startswith(b"post"):
                    await self._work(writer)
                else:
                    body = _MODELS if b"/v1/models" in line else b""
                    status = b"404 Not Found" if b"/metrics" in line else b"200 OK"
                    writer.write(b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))
        writer.close()

    async def _work(self, writer: asyncio.StreamWriter) -> None:
        self.begun.append(time.monotonic())
        self.open += 1
        self.peak = max(self.peak, self.open)
        try:
            async with self._slots:
                await asyncio.sleep(self.seconds / 2)
                writer.write(_HEAD + _FIRST)
                await asyncio.sleep(self.seconds / 2)
        finally:
            self.open -= 1
        writer.write(_END)
        await writer.drain()


@asynccontextmanager
async def worker(slots: int, seconds: float) -> AsyncIterator[Worker]:
    """Run one."""
    one = Worker(slots, seconds)
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0, backlog=1024)
    host, port = server.sockets[0].getsockname()[:2]
    one.address = f"{host}:{port}"
    try:
        yield one
    finally:
        server.close()


@dataclass
class Told:
    """What clients were told: when each answer ended, its status, and the seconds to its first byte and to its end."""

    answers: list[tuple[float, int, float, float]] = field(default_factory=list)

    def since(self, begin: float, end: float, status: int) -> list[tuple[float, float]]:
        """Return the times of the answers with a status that ended between."""
        return [(first, whole) for when, got, first, whole in self.answers if begin <= when < end and got == status]


class Clients:
    """Clients that ask again as soon as they are answered, `pause` seconds after a refusal."""

    def __init__(self, port: int, told: Told, key: str = "", pause: float = 0.02) -> None:
        self._port = port
        self._told = told
        self._pause = pause
        authorization = f"authorization: Bearer {key}\r\n" if key else ""
        head = (
            f"POST /v1/completions HTTP/1.1\r\nhost: x\r\n{authorization}"
            f"content-type: application/json\r\ncontent-length: {len(_BODY)}\r\n\r\n"
        )
        self._request = head.encode() + _BODY

    async def ask(self) -> None:
        """Ask until cancelled, over a connection that is made anew when it breaks."""
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                try:
                    while await self._one(reader, writer):
                        pass
                finally:
                    writer.close()
            await asyncio.sleep(self._pause)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        began = time.monotonic()
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        if status == 200:
            await reader.readuntil(_FIRST[-4:])
            first = time.monotonic()
            await reader.readuntil(_END)
        else:
            lines = head.lower().split(b"\r\n")
            length = next(int(one[16:]) for one in lines if one.startswith(b"content-length: "))
            await reader.readexactly(length)
            first = time.monotonic()
        now = time.monotonic()
        self._told.answers.append((now, status, first - began, now - began))
        if status != 200:
            await asyncio.sleep(self._pause)
        return b"connection: close" not in head.lower()


@asynccontextmanager
async def asking(port: int, told: Told, count: int, key: str = "", pause: float = 0.02) -> AsyncIterator[None]:
    """Have so many clients ask meanwhile."""
    clients = Clients(port, told, key, pause)
    tasks = [asyncio.create_task(clients.ask()) for _ in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
