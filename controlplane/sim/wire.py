"""Bytes of an HTTP/1.1 answer as vLLM's uvicorn writes them: status line, header order, chunk framing."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
JSON = b"content-type: application/json\r\n"
TEXT = b"content-type: text/plain; charset=utf-8\r\n"
METRICS = b"content-type: text/plain; version=1.0.0; charset=utf-8\r\n"
EVENTS = b"content-type: text/event-stream; charset=utf-8\r\n"
VARY = b"vary: Origin\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
CLOSE = b"connection: close\r\n"
LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NO_BODY = frozenset({204, 304})


class Clock:
    """The `date` and `server` header lines, made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self.lines = b""

    def at(self, seconds: float) -> bytes:
        """Return the lines for a wall-clock time, seconds since 1970."""
        if int(seconds) != self._second:
            self._second = int(seconds)
            self.lines = f"date: {formatdate(seconds, usegmt=True)}\r\nserver: uvicorn\r\n".encode()
        return self.lines


def status_line(status: int) -> bytes:
    """Return the status line; a number without a name has an empty phrase."""
    return STATUS_LINES.get(status) or f"HTTP/1.1 {status} \r\n".encode()


def length(size: int) -> bytes:
    """Return the content-length line."""
    return b"content-length: %d\r\n" % size


def chunk(data: bytes) -> bytes:
    """Return one chunk of a chunked body; data is not empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)
