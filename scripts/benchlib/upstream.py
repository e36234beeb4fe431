"""Fake workers: one process that answers for all of them, as uvicorn would, with canned bytes.

Each worker is a loopback address of its own (127.0.1.1, 127.0.1.2, ...) on one common port: 1,000
workers cost 1,000 listening sockets and nothing else.

Run as `python -m benchlib.upstream PORT WORKERS`; prints `ready`, ends when its stdin ends.
"""

import asyncio
import sys
from typing import cast

import httptools
import msgspec
import uvloop

from benchlib import canned

_decode = msgspec.json.Decoder(canned.Ask).decode


def worker_address(number: int) -> str:
    """Return the loopback address of worker `number` (from 0)."""
    third, fourth = divmod(number, 254)
    return f"127.0.{1 + third}.{1 + fourth}"


CUT_LINK = tuple(f"127.0.254.{number}" for number in range(1, 5))
"""Two prefill workers and two decode workers."""
CUT = CUT_LINK[0], CUT_LINK[2]
"""One of each, of which the latter fetches nothing from the former."""


class _Stream:
    """One SSE answer: an event per turn of the loop (so a write each, as vLLM's), or at a pace."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, ask: canned.Ask) -> None:
        self._loop = loop
        self._transport = transport
        self._frames = canned.stream_frames(ask.max_tokens)
        self._sent = 0
        self._pace = ask.bench_pace_ms / 1e3
        self._start = loop.time()
        self._blocked = False
        self._next: asyncio.Handle | None = None
        transport.write(canned.STREAM_HEAD)
        self._step()

    def _step(self) -> None:
        self._next = None
        if self._blocked:
            return
        self._transport.write(self._frames[self._sent])
        self._sent += 1
        if self._sent == len(self._frames):
            self._transport.write(canned.STREAM_END)
        elif self._pace:
            # From the start, not from now: lateness of one event must not slow the stream.
            self._next = self._loop.call_at(self._start + self._sent * self._pace, self._step)
        else:
            self._next = self._loop.call_soon(self._step)

    def block(self) -> None:
        self._blocked = True

    def unblock(self) -> None:
        self._blocked = False
        if self._next is None and self._sent < len(self._frames):
            self._step()

    def cancel(self) -> None:
        self._blocked = True
        if self._next is not None:
            self._next.cancel()


class Worker(asyncio.Protocol):
    """One connection from a router."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._stream: _Stream | None = None
        self._url = b""
        self._body = b""
        self._chat_head = canned.CHAT_HEAD

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is not a subclass
        self._host: str = transport.get_extra_info("sockname")[0]

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._url = url
        self._body = b""
        self._chat_head = canned.CHAT_HEAD

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == len(canned.LOAD_HEADER_ASK) and name.lower() == canned.LOAD_HEADER_ASK:
            self._chat_head = canned.CHAT_HEAD_WITH_LOAD

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._url != canned.CHAT_PATH:
            self._transport.write(canned.PAGES.get(self._url, canned.NOT_FOUND))
            return
        ask = _decode(self._body)
        if ask.stream:
            self._stream = _Stream(self._loop, self._transport, ask)
        elif ask.is_prefill:
            self._transport.write(canned.handoff(self._host))
        elif self._host == CUT[1] and ask.is_from(CUT[0]):
            self._transport.write(canned.NOT_FETCHED)
        else:
            self._transport.write(self._chat_head)
            self._transport.write(canned.CHAT_JSON)

    def pause_writing(self) -> None:
        if self._stream is not None:
            self._stream.block()

    def resume_writing(self) -> None:
        if self._stream is not None:
            self._stream.unblock()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._stream is not None:
            self._stream.cancel()


async def serve(port: int, workers: int) -> None:
    """Answer for `workers` workers on `port` until stdin ends."""
    loop = asyncio.get_running_loop()
    hosts = [*(worker_address(number) for number in range(workers)), *CUT_LINK]
    server = await loop.create_server(lambda: Worker(loop), hosts, port, backlog=1024)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)  # nothing is ever written there: it is its end
    print("ready", flush=True)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
