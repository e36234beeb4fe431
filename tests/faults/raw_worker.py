"""A worker and a client that speak in bytes: the worker notes all it reads, and answers as it is told."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from tests.faults.strict_http import Message, NotStrictError, read_answer, read_request

MODELS = b'{"object":"list","data":[{"id":"sim-model"}]}'
_OF_THE_ROUTER = {b"/health": b"", b"/v1/models": MODELS, b"/version": b'{"version":"0"}'}
PATIENCE = 20.0


class Connection:
    """A connection that the router made."""

    def __init__(self, number: int, stream: socket.socket) -> None:
        self.number = number
        self.stream = stream
        self.requests: list[Message] = []
        self.received = b""
        self.violation = ""
        self.closed = False
        """By the router, or after a violation by us."""


Answer = Callable[[Connection, Message], bool]
"""Answers a request; returns whether the connection stays open."""


def echo(connection: Connection, request: Message) -> bool:
    """Tell what was asked; whoever gets it can see whether it is the answer to its own request."""
    body = b"%b %b %b" % (*request.start, request.body)
    length = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(body)
    connection.stream.sendall(length + (b"" if request.start[0] == b"HEAD" else body))
    return True


class RawWorker:
    """Listens on a port of its own, with a thread per connection; the router's probes get what they expect."""

    def __init__(self, answer: Answer = echo) -> None:
        self.answer = answer
        self.connections: list[Connection] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def saw_nothing_hidden(self) -> None:
        """Check that all requests were well framed, and that none came out of another one."""
        assert self.violations == []
        assert not [request for request in self.requests if b"smuggled" in request.start[1]]

    @property
    def requests(self) -> list[Message]:
        """All that were asked, less the router's own."""
        return [request for connection in self.connections for request in connection.requests]

    @property
    def violations(self) -> list[str]:
        """What was no well-formed request, on whatever connection."""
        return [connection.violation for connection in self.connections if connection.violation]

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                stream, _ = self._listener.accept()
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection = Connection(len(self.connections), stream)
                self.connections.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: Connection) -> None:
        with connection.stream as stream, suppress(OSError):
            file = _Recorded(stream, connection)
            while True:
                try:
                    request = read_request(file.readline, file.read)
                except NotStrictError as error:
                    # Half a request of a router that left is nothing: it was never whole.
                    if not file.ended:
                        connection.violation = f"{error} in {connection.received[-400:]!r}"
                    break
                if request is None:
                    break
                known = _OF_THE_ROUTER.get(request.start[1])
                if known is not None:
                    stream.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(known), known))
                elif request.start[1] in (b"/metrics", b"/load"):
                    stream.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                else:
                    connection.requests.append(request)
                    if not self.answer(connection, request):
                        break
        connection.closed = True

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for connection in self.connections:
            with suppress(OSError):
                connection.stream.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()


class _Recorded:
    """Reads a socket, and notes each byte and whether the other side ended it."""

    def __init__(self, stream: socket.socket, connection: Connection) -> None:
        self._stream = stream
        self._connection = connection
        self._buffer = b""
        self.ended = False

    def _more(self) -> bool:
        data = self._stream.recv(65536)
        self.ended = not data
        self._connection.received += data
        self._buffer += data
        return bool(data)

    def readline(self) -> bytes:
        while b"\n" not in self._buffer and self._more():
            pass
        line, feed, self._buffer = self._buffer.partition(b"\n")
        return line + feed

    def read(self, size: int) -> bytes:
        while len(self._buffer) < size and self._more():
            pass
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data


class RawClient:
    """One connection to the router; what comes back is read strictly."""

    def __init__(self, port: int) -> None:
        self.stream = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.stream.makefile("rb")

    def send(self, data: bytes) -> None:
        # The router may have refused before it read everything.
        with suppress(ConnectionError):
            self.stream.sendall(data)

    def answer(self, *, head: bool = False) -> Message | None:
        """Read the next answer; None when the router closed the connection before one began."""
        try:
            return read_answer(self._file.readline, self._file.read, head=head)
        except ConnectionError:
            return None

    def rest(self) -> bytes:
        """Read to the end of the connection."""
        data = b""
        with suppress(ConnectionError):
            while part := self._file.read1(65536):
                data += part
        return data

    def ask(self, target: str) -> Message | None:
        """Ask a well-formed question."""
        self.send(b"GET %b HTTP/1.1\r\nhost: router\r\n\r\n" % target.encode())
        return self.answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.stream.close()
