"""One request and its answer on a connection: the only place that writes answers, and where they break.

A handler calls `send` for a whole body or `stream` for one that is pulled from a source piece by piece, as
fast as the client reads. The faults that the request meets are applied here, to any handler's answer.
"""

from __future__ import annotations

import enum
import time
from typing import TYPE_CHECKING, Protocol

from . import faults, wire
from .recorder import Record

if TYPE_CHECKING:
    from .connection import Connection

# Events are gathered up to this size per write: a fast engine costs one system call for many events.
GATHER_BYTES = 16 * 1024


class Pull(enum.Enum):
    """What a source answers when it has no bytes."""

    WAIT = enum.auto()
    END = enum.auto()


class Source(Protocol):
    """A body that comes in pieces."""

    def pull(self) -> bytes | Pull:
        """Return the next piece, WAIT when `Exchange.wake` will be called later, or END."""

    def cancel(self) -> None:
        """Let go of everything: nobody reads any more."""


class Tunnel(Source, Protocol):
    """Who takes what comes on a connection that speaks another protocol."""

    def feed(self, data: bytes) -> None:
        """Take what came."""


class Request:
    """A request as it came; `body` is complete when a handler sees it."""

    __slots__ = ("_values", "body", "headers", "keep_alive", "method", "path", "query", "target")

    def __init__(self) -> None:
        self.method = self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self._values: dict[bytes, bytes] = {}
        self.path = self.query = b""
        self.body: bytes = b""
        self.keep_alive = True

    def complete_head(self, method: bytes, keep_alive: bool) -> None:
        """Take what is known once the head is complete."""
        self.method = method
        self.keep_alive = keep_alive
        self.path, _, self.query = self.target.partition(b"?")
        # Backwards, so that the first of several headers with one name is what stays.
        self._values = {name.lower(): value for name, value in reversed(self.headers)}

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a header; the name is in lower case."""
        return self._values.get(name)


class Exchange:
    """One request being answered."""

    __slots__ = ("_chunked", "_pieces", "_source", "connection", "ended", "meeting", "record",
                 "request", "status")  # fmt: skip

    def __init__(self, connection: Connection, request: Request, record: Record | None) -> None:
        self.connection = connection
        self.request = request
        self.record = record
        self.meeting: faults.Meeting | None = None
        self.status: int | None = None
        self.ended = False
        self._source: Source | None = None
        self._chunked = True
        self._pieces = 0

    def send(self, status: int, headers: bytes, body: bytes, *, vary: bool = True) -> None:
        """Answer at once. `headers` are lines before content-length; see `wire`.

        The content type follows the length, as uvicorn's answers have it, so it is looked for at the end.
        """
        if self.ended:
            return
        before, content_type = _split(headers)
        sized = b"" if status in wire.NO_BODY else wire.length(len(body))
        tail = content_type + (wire.VARY if vary else b"")
        if status in wire.NO_BODY or self.request.method == b"HEAD":
            body = b""
        if self.meeting is not None and self._broken_body(self.meeting, status, before, tail, body):
            return
        self._write(self._head(status, before + sized + tail) + body)
        self._finish()

    def stream(
        self, status: int, headers: bytes, source: Source, *, length: int | None = None, vary: bool = True
    ) -> None:
        """Answer with the head now and the body as the source gives it, chunked unless its length is given."""
        if self.ended:
            return
        self._chunked = length is None
        self._source = source
        lines = headers if length is None else wire.length(length) + headers
        lines += wire.VARY if vary else b""
        if self._chunked:
            lines += wire.CHUNKED
        self._write(self._head(status, lines))
        if self.request.method == b"HEAD":
            source.cancel()
            self._finish()
        else:
            self.wake()

    def switch(self, lines: bytes, tunnel: Tunnel) -> None:
        """Answer 101 with these header lines; what comes from now on is the tunnel's, which writes by itself."""
        self.status = 101
        if self.record is not None:
            self.record.status = 101
        self.request.keep_alive = False
        self._source = tunnel
        self.connection.tunnel = tunnel
        self._write(wire.status_line(101) + lines + self.connection.date(time.time()) + b"\r\n")

    def hang_up(self) -> None:
        """Close a connection that was switched: the last frame is written."""
        self._source = None
        self._finish()

    def watch(self, source: Source) -> None:
        """Have `source.cancel` called if the client goes before the answer is sent."""
        self._source = source

    def wake(self) -> None:
        """Pull from the source until it waits, it ends, or the client is behind."""
        source, connection = self._source, self.connection
        if source is None:
            return
        gathered: list[bytes] = []
        size = 0
        while not self.ended:
            if connection.write_paused and not gathered:
                return
            data = source.pull()
            if isinstance(data, bytes):
                if self.meeting is not None and self._broken_piece(self.meeting, gathered, data):
                    return
                gathered.append(wire.chunk(data) if self._chunked else data)
                self._pieces += 1
                size += len(data)
                if size < GATHER_BYTES:
                    continue
            if gathered:
                self._write(b"".join(gathered))
                gathered.clear()
                size = 0
            if data is Pull.WAIT:
                return
            if data is Pull.END:
                self._end_stream()

    def abort(self, outcome: str) -> None:
        """The connection is gone, or is being thrown away."""
        if self.ended:
            return
        self.ended = True
        self._cancel_source()
        self.connection.exchange_over(self, outcome)

    def _end_stream(self) -> None:
        if self.meeting is not None and self.meeting.get(faults.ShortBody):
            self.request.keep_alive = False
        elif self._chunked:
            self._write(wire.LAST_CHUNK)
        self._source = None
        self._finish()

    def _finish(self) -> None:
        self.ended = True
        meeting = self.meeting
        if meeting is not None:
            extra = meeting.get(faults.ExtraBytes)
            if extra:
                self._write(b"x" * extra.count)
            if meeting.get(faults.CloseIdle):
                self.request.keep_alive = False
        self.connection.exchange_over(self, "finished")

    def _head(self, status: int, lines: bytes) -> bytes:
        self.status = status
        if self.record is not None:
            self.record.status = status
        close = b"" if self.request.keep_alive else wire.CLOSE
        return wire.status_line(status) + self.connection.date(time.time()) + lines + close + b"\r\n"

    def _write(self, data: bytes) -> None:
        self.connection.write(data)

    def _cancel_source(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.cancel()

    def _broken_body(self, meeting: faults.Meeting, status: int, before: bytes, tail: bytes, body: bytes) -> bool:
        """Send a whole body in the broken way the request meets; False when there is none."""
        half = body[: len(body) // 2]
        bad = meeting.get(faults.BadChunk)
        if bad:
            self._write(self._head(status, before + tail + wire.CHUNKED) + _bad_chunk(body))
            self._close_broken()
            return True
        head = self._head(status, before + wire.length(len(body)) + tail)
        short = meeting.get(faults.ShortBody)
        if short:
            longer = self._head(status, before + wire.length(len(body) + short.missing) + tail)
            self._write(longer + body)
            self._close_broken()
            return True
        if meeting.get(faults.Stall):
            self._write(head + half)
            return True
        die = meeting.get(faults.Die)
        if die:
            self._write(head + half)
            self._die(die)
            return True
        return False

    def _broken_piece(self, meeting: faults.Meeting, gathered: list[bytes], data: bytes) -> bool:
        """Before a piece is sent: break here if the request meets a fault that is due; True when broken."""
        stall, die = meeting.get(faults.Stall), meeting.get(faults.Die)
        bad = meeting.get(faults.BadChunk)
        stall_due = stall is not None and stall.after_chunks == self._pieces
        die_due = die is not None and die.after_chunks == self._pieces
        bad_due = bad is not None and bad.after_chunks == self._pieces
        if not (stall_due or die_due or bad_due):
            return False
        if bad_due:
            gathered.append(_bad_chunk(data))
        if gathered:
            self._write(b"".join(gathered))
        if die_due and die is not None:
            self._die(die)
        elif bad_due:
            self._close_broken()
        else:
            self._cancel_source()
        return True

    def _die(self, die: faults.Die) -> None:
        self._cancel_source()
        # What was written must reach the client before the reset does.
        self.connection.after_flush(self.connection.worker.kill if die.worker else self.connection.reset)

    def _close_broken(self) -> None:
        self.request.keep_alive = False
        self._cancel_source()
        self.ended = True
        self.connection.exchange_over(self, "killed")


def _split(headers: bytes) -> tuple[bytes, bytes]:
    """Return (lines before the content type, the content type line)."""
    at = headers.rfind(b"content-type:")
    return (headers, b"") if at < 0 else (headers[:at], headers[at:])


def _bad_chunk(data: bytes) -> bytes:
    return b"zz\r\n" + data + b"\r\n"
