"""A worker that answers as each request's body tells it to, and notes when the router closes a request's connection."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal, cast

from tests.integration.routers import PATIENCE

Plan = Literal["silent", "head", "stream", "length", "half", "flood", "steady", "busy", "busy-once"]
"""What the worker does with a request:

silent      nothing
head        sends a stream's head
stream      sends as many chunks as the body's `chunks` says
length      sends the head of an answer of known length
half        sends the head and the first half of a long answer of known length
flood       sends chunks without end, as fast as they are taken
steady      sends a chunk every 5 ms until the test says `enough`, then ends well
busy        answers 503 with `Retry-After: 1`
busy-once   does so the first time, and answers well the second
"""

LENGTH = 200_000
"""Bytes of an answer of known length: the router passes it on as it comes, for it keeps short ones to the end."""
PAUSE = 1.0
"""Seconds that `busy` asks for before another attempt."""

_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(number: int) -> bytes:
    return b"data: <%d>\n\n" % number


class Dispatch:
    """A request that reached the worker."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.closed = threading.Event()
        self.closed_at = 0.0
        """When the worker saw the end of the connection, by the monotonic clock."""
        self.blocked = threading.Event()
        """Set when the router takes no more of the answer for now."""


class WatchedWorker:
    """Serves in a thread of its own."""

    def __init__(self) -> None:
        self.port = 0
        self.enough = threading.Event()
        self._dispatches: dict[str, list[Dispatch]] = {}
        self._changed = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def dispatches(self, id: str) -> list[Dispatch]:
        """All attempts at a request that have come so far."""
        with self._changed:
            return list(self._dispatches.get(id, ()))

    def came(self, dispatch: Dispatch) -> None:
        with self._changed:
            self._dispatches.setdefault(dispatch.id, []).append(dispatch)
            self._changed.notify_all()

    def wait_for(self, id: str, attempt: int = 1) -> Dispatch:
        """Wait for an attempt at a request."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self._dispatches.get(id, ())) >= attempt, PATIENCE)
            assert came, f"attempt {attempt} at {id} never came"
            return self._dispatches[id][attempt - 1]


class _Connection(asyncio.Protocol):
    def __init__(self, worker: WatchedWorker, open_ones: set[_Connection]) -> None:
        self._worker = worker
        self._open_ones = open_ones
        self._received = b""
        self._dispatch: Dispatch | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._open_ones.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open_ones.discard(self)
        if self._answering is not None:
            self._answering.cancel()
        if self._dispatch is not None:
            self._dispatch.closed_at = time.monotonic()
            self._dispatch.closed.set()

    def abort(self) -> None:
        """Cut it off."""
        self._transport.abort()

    def pause_writing(self) -> None:
        self._room.clear()
        if self._dispatch is not None:
            self._dispatch.blocked.set()

    def resume_writing(self) -> None:
        self._room.set()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank:
            return
        line, *lines = head.split(b"\r\n")
        fields = dict(field.split(b": ", 1) for field in lines)
        if len(body) < int(fields.get(b"content-length", b"0")):
            return
        self._received = b""
        if line.startswith(b"GET "):
            models = b'{"object":"list","data":[{"id":"sim-model"}]}'
            self._answer(404 if b" /metrics " in line else 200, models if b" /v1/models " in line else b"")
            return
        self._dispatch = Dispatch(fields[b"x-request-id"].decode())
        self._worker.came(self._dispatch)
        with suppress(ValueError):
            # What is half a body must not come here, but if it does, then it is seen by the test.
            self._follow(json.loads(body))

    def _answer(self, status: int, body: bytes, extra: bytes = b"") -> None:
        head = b"HTTP/1.1 %d X\r\n%bcontent-length: %d\r\nconnection: close\r\n\r\n" % (status, extra, len(body))
        self._transport.write(head + body)
        self._transport.close()

    def _follow(self, asked: dict[str, object]) -> None:
        plan = cast("Plan", asked["plan"])
        match plan:
            case "silent":
                pass
            case "head":
                self._transport.write(_STREAM)
            case "stream":
                count = cast("int", asked["chunks"])
                self._transport.write(_STREAM + b"".join(chunk(event(number)) for number in range(count)))
            case "length" | "half":
                sent = LENGTH // 2 if plan == "half" else 0
                self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (LENGTH, b"x" * sent))
            case "flood":
                self._answering = asyncio.get_running_loop().create_task(self._flood())
            case "steady":
                self._answering = asyncio.get_running_loop().create_task(self._steady())
            case "busy" | "busy-once":
                assert self._dispatch is not None
                if plan == "busy" or len(self._worker.dispatches(self._dispatch.id)) == 1:
                    self._answer(503, b"busy", b"retry-after: %d\r\n" % PAUSE)
                else:
                    self._answer(200, b"well")

    async def _flood(self) -> None:
        self._transport.write(_STREAM)
        while not self._transport.is_closing():
            await self._room.wait()
            self._transport.write(chunk(b"x" * 16_000))

    async def _steady(self) -> None:
        self._transport.write(_STREAM)
        number = 0
        while not self._worker.enough.is_set():
            self._transport.write(chunk(event(number)))
            number += 1
            await asyncio.sleep(0.005)
        self._transport.write(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


@contextmanager
def watched_worker() -> Iterator[WatchedWorker]:
    """Run one; whatever still hangs at the end is cut off."""
    worker = WatchedWorker()
    listening = threading.Event()
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        stop.append(lambda: loop.call_soon_threadsafe(ended.set))
        open_ones: set[_Connection] = set()
        server = await loop.create_server(lambda: _Connection(worker, open_ones), "127.0.0.1", 0, backlog=1024)
        worker.port = server.sockets[0].getsockname()[1]
        listening.set()
        await ended.wait()
        server.close()
        # One that was just taken is among them two turns of the loop later, and what is cut off is closed a turn later.
        for _ in range(2):
            await asyncio.sleep(0)
        while open_ones:
            for one in open_ones:
                one.abort()
            await asyncio.sleep(0)
        await server.wait_closed()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert listening.wait(PATIENCE)
    try:
        yield worker
    finally:
        stop[0]()
        thread.join()
