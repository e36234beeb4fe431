"""A transport in memory, and a sink that notes what it is told."""

from __future__ import annotations

import asyncio
from typing import Any

from dataplane.upstream.connection import UpstreamConnection


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unsent = 0
        self.closing = False
        self.reading = True

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True

    def close(self) -> None:
        self.closing = True

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True


class Sink:
    """`events` has a letter per call: head, body, complete, broken."""

    def __init__(self) -> None:
        self.events = ""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.length: int | None = None
        self.parts: list[bytes] = []
        self.reason = ""

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    def on_head(self, status: int, headers: list[tuple[bytes, bytes]], length: int | None) -> None:
        self.events += "h"
        # Kept, not copied: a connection must not change what it has handed over.
        self.status, self.headers, self.length = status, headers, length

    def on_body(self, data: bytes) -> None:
        self.events += "" if self.events.endswith("b") else "b"
        self.parts.append(data)

    def on_complete(self) -> None:
        self.events += "c"

    def on_broken(self, reason: str) -> None:
        self.events += "x"
        self.reason = reason


def feed(connection: UpstreamConnection, data: bytes) -> None:
    """Give a connection bytes as a loop does, as many at a time as it has room for."""
    view = memoryview(data)
    while view and not connection.transport.is_closing():
        buffer = connection.get_buffer(len(view))
        nbytes = min(len(buffer), len(view))
        buffer[:nbytes] = view[:nbytes]
        connection.buffer_updated(nbytes)
        view = view[nbytes:]


class Wire:
    """A connection over a fake transport; as with a real one, nothing is received once it is closed."""

    def __init__(self) -> None:
        self.released: list[UpstreamConnection] = []
        self.reading_when_released: list[bool] = []
        self.connection = UpstreamConnection(self._release)
        self.transport = FakeTransport()
        self.connection.connection_made(self.transport)

    def _release(self, connection: UpstreamConnection) -> None:
        self.released.append(connection)
        self.reading_when_released.append(self.transport.reading)

    def ask(self, *, head: bool = False, sink: Sink | None = None) -> Sink:
        sink = sink or Sink()
        self.connection.send(b"REQUEST\r\n\r\n", b"", sink, bodiless_answer=head)
        return sink

    def receive(self, *pieces: bytes) -> None:
        for piece in pieces:
            if self.transport.closing:
                return
            feed(self.connection, piece)

    def lose(self, error: Exception | None = None) -> None:
        self.transport.closing = True
        self.connection.connection_lost(error)
