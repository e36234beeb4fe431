"""A client on a plain socket that keeps an answer as it came: status line, fields, chunks, and every byte of them."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

Field = tuple[bytes, bytes]


@dataclass
class Answer:
    """`chunks` is None when the body has a length, or ends with the connection."""

    status_line: bytes
    fields: list[Field]
    body: bytes = b""
    chunks: list[bytes] | None = None
    interim: list[bytes] = field(default_factory=list)
    """Status lines of the answers before this one (1xx)."""

    @property
    def status(self) -> int:
        return int(self.status_line.split(b" ")[1])

    @property
    def reason(self) -> bytes:
        return self.status_line.split(b" ", 2)[2]

    def values(self, name: bytes) -> list[bytes]:
        return [value for one, value in self.fields if one == name]


class RawClient:
    """One connection to the router."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._connection.close()

    @property
    def held(self) -> bytes:
        """What was received and not read yet."""
        return self._held

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def ask(self, request: bytes) -> Answer:
        self.send(request)
        return self.read_answer(head_only=request.startswith(b"HEAD "))

    def read_answer(self, *, head_only: bool = False) -> Answer:
        interim: list[bytes] = []
        while True:
            answer = self.read_head()
            if answer.status >= 200:
                break
            interim.append(answer.status_line)
        answer.interim = interim
        codings = answer.values(b"transfer-encoding")
        lengths = answer.values(b"content-length")
        assert len(codings) + len(lengths) <= 1 or head_only, "two framings"
        if head_only or answer.status in (204, 304):
            return answer
        if codings:
            assert codings == [b"chunked"]
            answer.chunks = list(iter(self.read_chunk, b""))
            answer.body = b"".join(answer.chunks)
        elif lengths:
            answer.body = self._exactly(int(lengths[0]))
        else:
            answer.body = self.read_rest()
        return answer

    def read_head(self) -> Answer:
        """A head, without looking at what follows it."""
        status_line, *lines = self._until(b"\r\n\r\n").split(b"\r\n")
        fields = [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
        return Answer(status_line, fields)

    def read_chunk(self) -> bytes:
        """The next chunk; nothing once the last one has come. Trailers are a failure."""
        data = self._exactly(int(self._until(b"\r\n"), 16))
        assert self._exactly(2) == b"\r\n"
        return data

    def read_rest(self) -> bytes:
        """All until the router closes."""
        held, self._held = self._held, b""
        return held + b"".join(iter(lambda: self._connection.recv(1 << 20), b""))

    def _more(self) -> None:
        data = self._connection.recv(1 << 20)
        assert data, f"the router closed after {self._held!r}"
        self._held += data

    def _until(self, end: bytes) -> bytes:
        while end not in self._held:
            self._more()
        found, _, self._held = self._held.partition(end)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            self._more()
        found, self._held = self._held[:size], self._held[size:]
        return found
