"""A raw HTTP/1.1 client and a running simulator, for tests that look at bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import uvloop

from controlplane.sim import SimConfig, serve


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a test on the loop that the command uses."""
    uvloop.run(main)


@asynccontextmanager
async def simulator(config: SimConfig | None = None, **fields: Any) -> AsyncIterator[list[str]]:
    """Run workers on free ports, with instant answers unless told otherwise; give their URLs."""
    config = msgspec.structs.replace(config or SimConfig(port=0, time_scale=0), **fields)
    ready: asyncio.Queue[list[str]] = asyncio.Queue()
    serving = asyncio.ensure_future(serve(config, ready=ready.put_nowait))
    try:
        yield await ready.get()
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    chunks: list[bytes]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, url: str, **options: Any) -> Client:
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port, **options))

    def send(
        self, method: str, target: str, body: bytes | str | dict[str, Any] = b"", headers: dict[str, str] | None = None
    ) -> None:
        if isinstance(body, dict):
            body = json.dumps(body)
        data = body.encode() if isinstance(body, str) else body
        lines = {"host": "sim", "content-type": "application/json", **(headers or {})}
        if data:
            lines["content-length"] = str(len(data))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in lines.items())
        self.writer.write(head.encode() + b"\r\n" + data)

    async def head(self) -> tuple[int, list[tuple[str, str]]]:
        raw = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = raw[:-4].split("\r\n")
        pairs = [line.partition(": ") for line in lines]
        return int(first.split(" ")[1]), [(key, value) for key, _, value in pairs]

    async def chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        data = await self.reader.readexactly(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def answer(self, *, head_only: bool = False) -> Answer:
        status, headers = await self.head()
        named = dict(headers)
        if head_only or status in (204, 304):
            return Answer(status, headers, b"", [])
        if "content-length" in named:
            return Answer(status, headers, await self.reader.readexactly(int(named["content-length"])), [])
        chunks: list[bytes] = []
        while chunk := await self.chunk():
            chunks.append(chunk)
        return Answer(status, headers, b"".join(chunks), chunks)

    async def ask(self, method: str, target: str, body: Any = b"", headers: dict[str, str] | None = None) -> Answer:
        self.send(method, target, body, headers)
        return await self.answer(head_only=method == "HEAD")

    async def close(self) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)

    def abort(self) -> None:
        self.writer.transport.abort()


async def ask(url: str, method: str, target: str, body: Any = b"", headers: dict[str, str] | None = None) -> Answer:
    """Ask on a connection of its own."""
    client = await Client.to(url)
    try:
        return await client.ask(method, target, body, headers)
    finally:
        await client.close()


async def state(url: str) -> Any:
    return (await ask(url, "GET", "/sim/state")).json


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a state; the test's time limit is the only one."""
    while not await check():  # noqa: ASYNC110 - the state is another process's as far as the test knows
        await asyncio.sleep(0.005)


COMPLETION = {"model": "sim-model", "prompt": "Hello router", "max_tokens": 4}
CHAT = {"model": "sim-model", "messages": [{"role": "user", "content": "How are you?"}], "max_tokens": 4}
