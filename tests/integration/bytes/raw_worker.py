"""A worker on a plain socket in the test's own process: it keeps every byte that it read and answers by a script."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property

Field = tuple[bytes, bytes]

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
_PROBES = (b"/health", b"/v1/models", b"/version", b"/metrics", b"/load")
_CUT = 64 * 1024


class Line:
    """One connection from the router, as the worker has it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.over = False
        """Whether no further request is read."""
        self._held = b""

    def read_head(self) -> bytes:
        """The next request's head with its empty line; nothing when the router has closed."""
        while b"\r\n\r\n" not in self._held:
            if not (data := self.connection.recv(_CUT)):
                assert not self._held, f"half a head: {self._held!r}"
                return b""
            self._held += data
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def read(self, size: int) -> bytes:
        parts = [self._held[:size]]
        self._held = self._held[size:]
        left = size - len(parts[0])
        while left:
            if not (data := self.connection.recv(min(left, 1 << 20))):
                raise ConnectionAbortedError(f"the body ended {left} bytes too soon")
            parts.append(data)
            left -= len(data)
        return b"".join(parts)

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def drained(self) -> None:
        """Read until the router closes."""
        self.over = True
        with suppress(ConnectionError):
            while self.connection.recv(_CUT):
                pass

    def reset(self) -> None:
        """Close by a reset alone; what the router did not receive yet is lost."""
        self.over = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def close(self) -> None:
        self.over = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()


@dataclass
class Asked:
    """A request as the worker read it; the body is read when it is first looked at."""

    head: bytes
    line: Line = field(repr=False)

    @cached_property
    def request_line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    @cached_property
    def fields(self) -> list[Field]:
        """Name and value as they came."""
        lines = self.head.removesuffix(b"\r\n\r\n").split(b"\r\n")[1:]
        return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]

    def values(self, name: bytes) -> list[bytes]:
        return [value for one, value in self.fields if one == name]

    @cached_property
    def body(self) -> bytes:
        lengths = self.values(b"content-length")
        assert len(lengths) < 2
        return self.line.read(int(lengths[0])) if lengths else b""


Script = Callable[[Asked], None]


def saying(*segments: bytes, close: bool = False) -> Script:
    """A script that reads the request and sends these bytes, each by a call of its own."""

    def script(asked: Asked) -> None:
        _ = asked.body
        for segment in segments:
            asked.line.send(segment)
        if close:
            asked.line.close()

    return script


class RawWorker:
    """Serves until closed; `script` answers what is no probe and may be changed between requests."""

    def __init__(self) -> None:
        self.script: Script = saying(OK)
        self.asked: list[Asked] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._lines: set[Line] = set()
        self._faults: list[BaseException] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def authority(self) -> bytes:
        return self.url.removeprefix("http://").encode()

    def take(self) -> list[Asked]:
        """What was asked since the last call."""
        asked, self.asked = self.asked, []
        faults, self._faults = self._faults, []
        assert not faults, faults
        return asked

    def taken(self) -> Asked:
        """The only request since the last call."""
        (asked,) = self.take()
        return asked

    def close(self) -> None:
        # Only a shutdown wakes the thread that accepts.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for line in list(self._lines):
            line.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(Line(connection),), daemon=True).start()

    def _serve(self, line: Line) -> None:
        self._lines.add(line)
        try:
            while not line.over and (head := line.read_head()):
                asked = Asked(head, line)
                path = asked.request_line.split(b" ")[1]
                if path in _PROBES:
                    found = path == b"/health"
                    line.send(b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % (b"200 OK" if found else b"404 Not Found"))
                    continue
                self.asked.append(asked)
                self.script(asked)
        except OSError:
            pass
        except AssertionError as fault:
            self._faults.append(fault)
        finally:
            self._lines.discard(line)
            line.close()


@contextmanager
def raw_worker() -> Iterator[RawWorker]:
    worker = RawWorker()
    try:
        yield worker
    finally:
        worker.close()
