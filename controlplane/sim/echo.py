"""`/sim/echo`: an answer that tells what arrived, or that is shaped by the query.

?status=204           the status
?bytes=N              a body of N bytes, with its length
?chunks=N&size=M      a chunked body of N pieces of M bytes (M is 16 unless given)
?delay_ms=D           a pause before each piece but the first; with `bytes` alone, before the answer
?header=name:value    one more header; may be repeated
"""

from __future__ import annotations

from collections import deque
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import msgspec

from . import wire
from .errors import ApiError
from .exchange import Exchange, Pull, Request

if TYPE_CHECKING:
    from .worker import Worker

_PIECE = 64 * 1024
_BYTES = b"content-type: application/octet-stream\r\n"


class Shape(msgspec.Struct, frozen=True):
    """What the query asks for."""

    status: int = 200
    bytes: int | None = None
    chunks: int | None = None
    size: int = 16
    delay_ms: float = 0
    header: tuple[str, ...] = ()


def shape_of(query: bytes) -> Shape:
    """Return the shape, or raise the 400 that says which value is wrong."""
    fields: dict[str, object] = {}
    headers: list[str] = []
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name == "header":
            headers.append(value)
        elif name in Shape.__struct_fields__:
            fields[name] = value
    try:
        shape = msgspec.convert({**fields, "header": headers}, Shape, strict=False)
    except msgspec.ValidationError as error:
        raise ApiError(400, f"/sim/echo: {error}") from error
    if not 200 <= shape.status <= 599 or min(shape.bytes or 0, shape.chunks or 0, shape.delay_ms) < 0:
        raise ApiError(400, "/sim/echo: status is 200..599, and bytes, chunks and delay_ms are not negative")
    if shape.size < 1 or any(":" not in line or "\r" in line or "\n" in line for line in headers):
        raise ApiError(400, "/sim/echo: size is at least 1, and a header is name:value in one line")
    return shape


def pattern(size: int, start: int = 0) -> bytes:
    """Return `size` bytes of the endless pattern 0, 1, ... 250, 0, ... from offset `start` on."""
    offset = start % len(_PATTERN)
    whole = _PATTERN[offset:] + _PATTERN * (size // len(_PATTERN) + 1)
    return whole[:size]


_PATTERN = bytes(range(251))


def echo(worker: Worker, exchange: Exchange) -> None:
    """Answer any method."""
    shape = shape_of(exchange.request.query)
    lines = b"".join(
        b"%b: %b\r\n" % (name.strip().encode("latin-1"), value.strip().encode("latin-1"))
        for name, _, value in (line.partition(":") for line in shape.header)
    )
    if shape.bytes is None and shape.chunks is None:
        body = describe(exchange.request)
        if shape.delay_ms:
            content = lines + wire.JSON
            worker.loop.call_later(shape.delay_ms / 1000, exchange.send, shape.status, content, body)
        else:
            exchange.send(shape.status, lines + wire.JSON, body)
        return
    if shape.chunks is not None:
        sizes = deque([shape.size] * shape.chunks)
        length = None
    else:
        length = shape.bytes or 0
        sizes = deque([_PIECE] * (length // _PIECE))
        if length % _PIECE:
            sizes.append(length % _PIECE)
    exchange.stream(
        shape.status, lines + _BYTES, _Pieces(worker, exchange, sizes, shape.delay_ms / 1000), length=length
    )


def describe(request: Request) -> bytes:
    """Return what arrived, as JSON."""
    return msgspec.json.encode(
        {
            "method": request.method.decode("latin-1"),
            "target": request.target.decode("latin-1"),
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers],
            "body_length": len(request.body),
            "sha256": sha256(request.body).hexdigest(),
        }
    )


class _Pieces:
    """A body of pattern bytes; mutable: it counts what it has given and, with a delay, what is due."""

    def __init__(self, worker: Worker, exchange: Exchange, sizes: deque[int], delay: float) -> None:
        self._worker = worker
        self._exchange = exchange
        self._sizes = sizes
        self._delay = delay
        self._start = 0
        self._due = True

    def pull(self) -> bytes | Pull:
        """Return the next piece when it is due."""
        if not self._sizes:
            return Pull.END
        if not self._due:
            return Pull.WAIT
        size = self._sizes.popleft()
        data = pattern(size, self._start)
        self._start += size
        if self._delay and self._sizes:
            self._due = False
            self._worker.loop.call_later(self._delay, self._next)
        return data

    def cancel(self) -> None:
        """Give nothing more."""
        self._sizes.clear()

    def _next(self) -> None:
        self._due = True
        self._exchange.wake()
