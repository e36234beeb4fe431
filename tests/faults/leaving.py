"""Clients that leave: each asks one thing of a router and goes away in a way of its own, when the test says so."""

from __future__ import annotations

import json
import select
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import count
from typing import Final

import h2.config
import h2.connection
import h2.events
from h2.errors import ErrorCodes

from tests.faults.watched_worker import Plan
from tests.integration.routers import PATIENCE, Router

_numbers = count()
PATH = "/v1/chat/completions"


def body_of(plan: Plan, chunks: int = 0) -> bytes:
    return json.dumps({"model": "sim-model", "plan": plan, "chunks": chunks}).encode()


def request_headers(id: str, length: int | None, path: str = PATH) -> list[tuple[str, str]]:
    """The headers of an HTTP/2 request."""
    headers = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "x"), ("x-request-id", id)]
    return headers if length is None else [*headers, ("content-length", str(length))]


class Visit(ABC):
    """One request of a client, and its leaving."""

    def __init__(self) -> None:
        self.id: Final = f"visit-{next(_numbers)}"

    @abstractmethod
    def ask(self, body: bytes, *, missing: int = 0, declared: bool = True) -> None:
        """Send a request; `missing` bytes of its body never come. `declared` gives the body's length beforehand."""

    @abstractmethod
    def received(self) -> bytes:
        """What came of the answer's body so far."""

    def wait_until(self, arrived: Callable[[bytes], bool]) -> None:
        """Read until it has."""
        deadline = time.monotonic() + PATIENCE
        while not arrived(self.received()):
            assert time.monotonic() < deadline, f"{self.id} got only {self.received()[-200:]!r}"

    @abstractmethod
    def leave(self) -> None:
        """Go away."""

    @abstractmethod
    def clean_up(self) -> None:
        """Close what leaving left open."""


class _Http1(Visit):
    def __init__(self, router: Router) -> None:
        super().__init__()
        self._socket = socket.create_connection(("127.0.0.1", router.port))
        self._body = b""

    def ask(self, body: bytes, *, missing: int = 0, declared: bool = True) -> None:
        there = body[: len(body) - missing]
        framing = b"content-length: %d" % len(body) if declared else b"transfer-encoding: chunked"
        if not declared:
            there = b"%x\r\n%b\r\n" % (len(there), there) + (b"" if missing else b"0\r\n\r\n")
        head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nx-request-id: {self.id}\r\n".encode()
        self._socket.sendall(head + framing + b"\r\n\r\n" + there)

    def received(self) -> bytes:
        if select.select([self._socket], [], [], 0.05)[0]:
            self._body += self._socket.recv(1 << 20)
        return self._body

    def clean_up(self) -> None:
        self._socket.close()


class Finishes(_Http1):
    """HTTP/1.1, closed in order (FIN)."""

    def leave(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)


class Resets(_Http1):
    """HTTP/1.1, reset (RST)."""

    def leave(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


class Http2Connection:
    """HTTP/2 by prior knowledge, and what came on each of its streams."""

    def __init__(self, router: Router) -> None:
        self.socket = socket.create_connection(("127.0.0.1", router.port))
        # As every HTTP/2 client does: a small frame must not wait for the acknowledgement of the one before.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.was_reset: set[int] = set()
        self.refused = False
        """Whether the server has ended the connection."""
        self.flush()
        # The server's greeting: from here on the connection is its, too.
        self.read(PATIENCE)

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def open(self, id: str, *, length: int | None, body: bytes, whole: bool) -> int:
        """Send a request; return its stream."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, request_headers(id, length))
        self.h2.send_data(stream, body, end_stream=whole)
        self.data[stream] = b""
        return stream

    def reset(self, stream: int, code: int = ErrorCodes.CANCEL) -> None:
        self.h2.reset_stream(stream, code)

    def read(self, wait: float = 0.05) -> None:
        """Take what came."""
        if not select.select([self.socket], [], [], wait)[0]:
            return
        received = self.socket.recv(1 << 20)
        self.refused = self.refused or not received
        for one in self.h2.receive_data(received) if received else ():
            match one:
                case h2.events.DataReceived(stream_id=stream, data=data) if stream is not None:
                    self.data[stream] += data or b""
                    self.h2.acknowledge_received_data(one.flow_controlled_length or 0, stream)
                case h2.events.StreamEnded(stream_id=stream) if stream is not None:
                    self.ended.add(stream)
                case h2.events.StreamReset(stream_id=stream) if stream is not None:
                    self.was_reset.add(stream)
                case h2.events.ConnectionTerminated():
                    self.refused = True
        if not self.refused:
            self.flush()

    def close(self) -> None:
        self.socket.close()


class Cancels(Visit):
    """HTTP/2: one stream of a connection is reset, the others go on."""

    def __init__(self, connection: Http2Connection) -> None:
        super().__init__()
        self.connection = connection
        self.stream = 0

    def ask(self, body: bytes, *, missing: int = 0, declared: bool = True) -> None:
        there = body[: len(body) - missing]
        length = len(body) if declared else None
        self.stream = self.connection.open(self.id, length=length, body=there, whole=not missing)
        self.connection.flush()

    def received(self) -> bytes:
        self.connection.read()
        return self.connection.data[self.stream]

    def leave(self) -> None:
        self.connection.reset(self.stream)
        self.connection.flush()

    def clean_up(self) -> None:
        """The connection is others', too."""


class Disconnects(Cancels):
    """HTTP/2: the whole connection is closed."""

    def __init__(self, router: Router) -> None:
        super().__init__(Http2Connection(router))

    def leave(self) -> None:
        self.connection.socket.shutdown(socket.SHUT_RDWR)

    def clean_up(self) -> None:
        self.connection.close()
