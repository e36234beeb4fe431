"""One HTTP/1.1 connection to a worker: bytes in, calls on a `ResponseSink` out.

llhttp (the parser of Node.js, by httptools) reads the answer; this class knows where an answer ends, and
whether the connection is still in step with the worker afterwards. One that saw a protocol error, bytes
after the end, or an unfinished request or answer is closed, never used again.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import cast

import httptools

from dataplane.upstream.framing import LONG_HEAD, LONG_PAUSE, MAX_HEAD, NotUnderstoodError, check_head, size_of
from dataplane.upstream.head import ANSWERED_BY_US, HOP_BY_HOP, connection_tokens
from dataplane.upstream.sink import Nobody, Parser, ResponseSink, SwitchingSink
from shared.tls import explain

# A chunk is passed on whole; one larger than this is passed on in pieces, so that a worker's huge chunk
# does not become our memory.
_MAX_HELD_CHUNK = 64 * 1024

_NOT_PASSED_ON = HOP_BY_HOP | ANSWERED_BY_US

_END_OF_HEAD = b"\r\n\r\n"
SWITCHING = HTTPStatus.SWITCHING_PROTOCOLS.value

# Bytes read at a time, by all connections into one buffer: what has been read when a client turns out to be full
# is kept for as long as the client stalls. uvloop's own buffer has 256,000.
_READ_SIZE = 16 * 1024
_buffer = memoryview(bytearray(_READ_SIZE))

# Seconds for the end of an answer whose last event has come: it is on its way already.
_LAST_WORDS = 1.0


_NOBODY = Nobody()


class UpstreamConnection(asyncio.BufferedProtocol):
    """A connection that carries one request at a time.

    `idle_since` is the loop's time at which it became idle; `used` tells whether it carried a request before.

    With TLS, a body that only the close ends is complete when the worker said so (close_notify): anybody on the way
    can end a TCP connection. uvloop calls `eof_received` for that alone; asyncio's own loop does for either end.
    """

    __slots__ = (
        "_bodiless",
        "_chunk",
        "_chunked",
        "_complete",
        "_connection_values",
        "_end_was_told",
        "_head_done",
        "_headers",
        "_informational",
        "_keep_alive",
        "_length",
        "_out_of_step",
        "_parser",
        "_paused",
        "_release",
        "_sink",
        "_skip_body",
        "_tls",
        "_until_close",
        "answering",
        "closed",
        "idle_since",
        "is_full",
        "on_room",
        "transport",
        "used",
    )

    def __init__(self, release: Callable[[UpstreamConnection], None], *, tls: bool = False) -> None:
        """Make an unconnected one; `release` is called when it is free for another request."""
        self._release = release
        self._tls = tls
        self._end_was_told = not tls
        self.transport: asyncio.Transport
        self.closed = False
        self.used = False
        self._paused = False
        self.idle_since = 0.0
        self.is_full = False
        self.on_room: Callable[[], None] | None = None
        self._sink: ResponseSink | None = None
        self._parser: Parser = httptools.HttpResponseParser(self)
        self._reset()

    def _reset(self) -> None:
        self.answering = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._connection_values: list[bytes] = []
        self._length: int | None = None
        self._chunked = False
        self._until_close = False
        self._informational = False
        self._head_done = False
        # Bytes since the answer's beginning, or since the last of its body.
        self._bodiless = 0
        self._keep_alive = False
        self._skip_body = False
        self._complete = False
        self._out_of_step = False
        self._chunk = b""

    # --- used by the exchange --------------------------------------------------------------------------

    def send(self, head: bytes, body: bytes | bytearray, sink: ResponseSink, *, bodiless_answer: bool) -> None:
        """Send a request; its answer goes to `sink`. `bodiless_answer`: the method was HEAD."""
        self._sink = sink
        self._skip_body = bodiless_answer
        if len(body) < _MAX_HELD_CHUNK:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self.transport.write(body)

    def pause(self) -> None:
        """Stop reading: the client does not keep up, so the worker must wait."""
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()

    def finish_alone(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read the rest of an answer that nobody wants any more, and be free again; it must come soon."""
        self._sink = _NOBODY
        self.resume()
        loop.call_later(_LAST_WORDS, self._give_up_alone)

    def _give_up_alone(self) -> None:
        if self._sink is _NOBODY:
            self.abort()

    def abort(self) -> None:
        """Close at once and say nothing more to the sink: this is how vLLM learns to free the GPU."""
        self._sink = None
        self.closed = True
        self.transport.abort()

    def close(self) -> None:
        """Close once all is sent that was written, and say nothing more to the sink."""
        self._sink = None
        self.closed = True
        self.transport.close()

    def alive(self) -> None:
        """Know that what came was understood: nothing adds up."""
        self._bodiless = 0

    # --- asyncio.BufferedProtocol ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # A cast, not a check: uvloop's transports do not derive from asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        if self._tls:
            # While we are paused the loop reads on into a buffer of its own, and at the connection's end uvloop throws
            # that away. With these limits it stops reading as soon as there is something that we do not take.
            transport.set_read_buffer_limits(high=1, low=0)  # type: ignore[attr-defined]

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to put the next bytes."""
        return _buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse the bytes where they are: the parser copies what it gives out.

        Then, if the answer ended with them, be free again or close.
        """
        if self._sink is None:
            # Nothing was asked: whatever this is, it must not become the next request's answer.
            self.abort()
            return
        data = _buffer[:nbytes]
        self.answering = True
        self._bodiless += nbytes
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._switched(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            if not self._complete:
                cause = error.__context__
                self._break(str(cause) if isinstance(cause, NotUnderstoodError) else f"is not valid HTTP ({error})")
                return
            self._out_of_step = True
        if self._complete:
            if self._skip_body and not _END_OF_HEAD.endswith(bytes(data[-len(_END_OF_HEAD) :])):
                # Also half a chunk line, of which the parser says nothing.
                self._out_of_step = True
            self._finish()
        elif self._bodiless > MAX_HEAD:
            self._break(LONG_PAUSE if self._head_done else LONG_HEAD)

    def _switched(self, rest: memoryview) -> None:
        """Have another protocol's bytes go to who asked for it; it is the parser from now on."""
        if not isinstance(self._sink, SwitchingSink) or self._parser.get_status_code() != SWITCHING:
            self._break("switched protocols, which was not asked for")
            return
        self._complete = False
        self._parser = self._sink.on_switched(self._headers)
        if rest and self._sink is not None:
            self._parser.feed_data(rest)

    def pause_writing(self) -> None:
        """Know that the worker does not take what is written as fast as it comes."""
        self.is_full = True

    def resume_writing(self) -> None:
        """Know that it has caught up."""
        self.is_full = False
        on_room, self.on_room = self.on_room, None
        if on_room is not None:
            on_room()

    def eof_received(self) -> None:
        """Know that the worker sends nothing more; the transport closes."""
        self._end_was_told = True

    def connection_lost(self, exc: Exception | None) -> None:
        """End the answer: complete if only the close could end it, broken otherwise."""
        if exc is not None and self._sink is not None and not self._paused:
            self._read_what_is_left()
        self.closed = True
        sink, self._sink = self._sink, None
        if sink is None:
            return
        if self._head_done and self._until_close and exc is None and self._end_was_told:
            sink.on_complete()
        elif self.answering:
            sink.on_broken("ended before it was complete")
        elif isinstance(exc, ssl.SSLError):
            # With TLS 1.3 a worker refuses a client only after the client took the handshake for done.
            sink.on_broken(f"did not begin: {explain(exc)}")
        else:
            sink.on_broken("did not begin: the connection was closed")

    def _read_what_is_left(self) -> None:
        """Read what the kernel still holds after writing failed.

        A worker that refuses a request without reading all of it answers and resets, and to a large body that is
        still being written the reset shows first. (The transport closes its socket after `connection_lost`.)
        """
        raw = self.transport.get_extra_info("socket")
        if raw is None or self.transport.get_extra_info("sslcontext") is not None:
            return
        with suppress(OSError):
            while self._sink is not None and (nbytes := os.readv(raw.fileno(), [_buffer])):
                self.buffer_updated(nbytes)

    # --- httptools -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Notice bytes after the end of the answer."""
        if self._complete:
            self._out_of_step = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect what goes on to the client; keep what the framing needs. Trailers are dropped (RFC 9110 6.5.1)."""
        if self._head_done:
            return
        name = name.lower()
        if name not in _NOT_PASSED_ON:
            # White space after a value is none of it (RFC 9112 section 5.1); llhttp takes away only what is before.
            self._headers.append((name, value.rstrip()))
            if name == b"content-length":
                self._length = int(value)
        elif name == b"transfer-encoding":
            # Spaces, but no tab: llhttp itself would not take that for chunks.
            if self._chunked or value.rstrip(b" ").lower() != b"chunked":
                raise NotUnderstoodError("uses a transfer coding that was not asked for")
            self._chunked = True
        elif name == b"connection":
            self._connection_values.append(value)

    def on_headers_complete(self) -> None:
        """Pass the head on; interim answers (1xx) stay between us and the worker."""
        if self._complete:
            return
        status = self._parser.get_status_code()
        headers = self._headers
        if status == SWITCHING and isinstance(self._sink, SwitchingSink):
            return
        framed = self._chunked or bool(self._length)
        check_head(status, self._parser.get_http_version(), headers, chunked=self._chunked, framed=framed)
        if status < 200:
            self._informational = True
            return
        if self._bodiless > MAX_HEAD and size_of(headers) > MAX_HEAD:
            raise NotUnderstoodError(LONG_HEAD)
        self._head_done = True
        self._bodiless = 0
        for value in self._connection_values:
            if value.lower() not in (b"keep-alive", b"close"):
                named = connection_tokens(self._connection_values)
                headers = [field for field in headers if field[0] not in named]
                break
        bodiless = self._skip_body or status in (204, 304)
        self._until_close = not (bodiless or self._chunked or self._length is not None)
        assert self._sink is not None  # noqa: S101 - only called while an answer is expected
        self._sink.on_head(status, headers, 0 if bodiless else self._length)
        if bodiless:
            # llhttp can not be told that an answer has no body, so its state is of no use any more.
            self._keep_alive = self._parser.should_keep_alive()
            self._parser = httptools.HttpResponseParser(self)
            self._skip_body = True
            self._complete = True
            # Unlike 304 and the answer to HEAD, 204 has nothing that a length could tell.
            self._out_of_step = framed and status == 204

    def on_body(self, data: bytes) -> None:
        """Pass on what is not chunked; hold a chunk until it is whole."""
        self._bodiless = 0
        if self._complete:
            self._out_of_step = True
        elif self._sink is None:
            return
        elif not self._head_done:
            raise NotUnderstoodError("has a body before its head")
        elif not self._chunked:
            self._sink.on_body(data)
        elif not self._chunk and len(data) <= _MAX_HELD_CHUNK:
            self._chunk = data
        else:
            self._chunk += data
            if len(self._chunk) > _MAX_HELD_CHUNK:
                self.on_chunk_complete()

    def on_chunk_complete(self) -> None:
        """Pass the chunk on, as one part."""
        data = self._chunk
        if data and self._sink is not None:
            self._chunk = b""
            self._sink.on_body(data)

    def on_message_complete(self) -> None:
        """Note the end; `data_received` acts on it when the parser has seen all bytes."""
        if self._complete:
            # Of an answer without a body: the parser found the end of one that has chunks.
            self._out_of_step = self._out_of_step or self._chunked
            return
        if self._informational:
            self._informational = False
            self._headers = []
            self._connection_values = []
            self._length = None
            return
        self._keep_alive = self._parser.should_keep_alive()
        self._complete = True

    # --- ends ------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        sink, self._sink = self._sink, None
        reusable = (
            not self._out_of_step
            and self._keep_alive
            and not self.transport.is_closing()
            and self.transport.get_write_buffer_size() == 0
        )
        if reusable:
            # The last client may not have kept up; the next one must not inherit the pause.
            if self._paused:
                self.resume()
            self._reset()
            self.used = True
        else:
            self.closed = True
            self.transport.abort()
        if sink is not None:
            sink.on_complete()
        if reusable:
            self._release(self)

    def _break(self, reason: str) -> None:
        sink = self._sink
        self.abort()
        if sink is not None:
            sink.on_broken(reason)
