"""One client connection: bytes in, requests out one at a time, bytes back under the reader's pace."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import httptools

from . import wire
from .exchange import Exchange, Request, Tunnel
from .recorder import Record
from .routes import ROUTES, Routes

if TYPE_CHECKING:
    from .worker import Worker

_LINGER_SECONDS = 2.0
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, for 0 seconds: close() sends RST


class Connection(asyncio.Protocol):
    """The server's side of one connection.

    Mutable: `_request` is the one being received, `_queue` holds those a client sent ahead (pipelining), and
    `_exchange` the one being answered. Reading pauses while anything is queued, so a client that sends ahead
    cannot make the queue longer than what one read brings.
    """

    def __init__(self, worker: Worker, routes: Routes = ROUTES) -> None:
        self.worker = worker
        self.routes = routes
        self.write_paused = False
        self.tunnel: Tunnel | None = None
        """Who speaks here since the client has asked for another protocol."""
        self._loop = worker.loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request()
        self._receiving = False
        self._record: Record | None = None
        self._body = bytearray()
        self._queue: deque[tuple[Request, Record | None]] = deque()
        self._exchange: Exchange | None = None
        self._dispatching = False
        self._refused = False
        self._reading_paused = False
        self._idle_since: float | None = None
        self._idle_timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request is being received or answered."""
        return self._exchange is None and not self._receiving and not self._queue

    @property
    def _open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    # -- transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        # uvloop's transports are not subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self.worker.config.write_buffer_bytes)
        self.worker.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything that belonged to the connection."""
        self._transport = None
        self.worker.connections.discard(self)
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        records = [record for _, record in self._queue]
        if self._receiving:
            records.append(self._record)
        self._queue.clear()
        for record in records:
            if record is not None:
                self.worker.recorder.end(record, "aborted")
        if self._exchange is not None:
            self._exchange.abort("aborted")

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        self.write_paused = True

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.write_paused = False
        if self._exchange is not None:
            self._exchange.wake()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self.tunnel is not None:
            self.tunnel.feed(data)
            return
        if self._refused:
            return
        self._idle_since = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._has_switched(data[upgrade.args[0] :]):
                return
            # This one is not spoken here; the request was dispatched as a plain one, nothing may follow it.
            self._refused = True
            if self.idle:
                self.close()
        except httptools.HttpParserError:
            self._refuse(400, b"Invalid HTTP request received.")

    def _has_switched(self, rest: bytes) -> bool:
        """Whether another protocol was agreed on, which the rest is of."""
        if self.tunnel is not None:
            self.tunnel.feed(rest)
        return self.tunnel is not None

    # -- parser

    def on_message_begin(self) -> None:
        """Start a request."""
        self._request = Request()
        self._receiving = True
        self._record = None
        self._body = bytearray()

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header, as it was written."""
        self._request.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Take the head; refuse a body that is too large before it comes."""
        request = self._request
        request.complete_head(self._parser.get_method(), self._parser.should_keep_alive())
        if not request.path.startswith(b"/sim/") or request.path.startswith(b"/sim/echo"):
            self._record = self.worker.recorder.begin(request.method, request.target, request.headers)
        length = request.header(b"content-length")
        if length is not None and int(length) > self.worker.config.max_body_bytes:
            self._refuse(413, b"Request body too large.")
        elif (request.header(b"expect") or b"").lower() == b"100-continue" and self._exchange is None:
            self.write(wire.CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if self._refused:
            return
        self._body += body
        if len(self._body) > self.worker.config.max_body_bytes:
            self._refuse(413, b"Request body too large.")

    def on_message_complete(self) -> None:
        """Answer the request, or queue it behind the one being answered."""
        request, record = self._request, self._record
        if self._refused:
            return
        request.body = bytes(self._body)
        self._receiving = False
        if record is not None:
            self.worker.recorder.complete(record, request.body)
        self._queue.append((request, record))
        if self._exchange is not None or self._dispatching:
            if self._transport is not None and not self._reading_paused:
                self._reading_paused = True
                self._transport.pause_reading()
            return
        self._serve_queue()

    def _serve_queue(self) -> None:
        """Answer queued requests until one takes its time. A loop: a long queue must not nest calls."""
        self._dispatching = True
        while self._queue and self._exchange is None and self._open:
            request, record = self._queue.popleft()
            self._exchange = Exchange(self, request, record)
            self.worker.dispatch(self._exchange)
        self._dispatching = False
        if self._reading_paused and not self._queue and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()

    # -- for the exchange

    def write(self, data: bytes) -> None:
        """Write, unless the client is gone."""
        if self._transport is not None:
            self._transport.write(data)

    def date(self, now: float) -> bytes:
        """Return the `date` and `server` lines."""
        return self.worker.clock.at(now)

    def exchange_over(self, exchange: Exchange, outcome: str) -> None:
        """The answer is written, or given up."""
        self._exchange = None
        if exchange.record is not None:
            self.worker.recorder.end(exchange.record, outcome)
        self.worker.served(exchange)
        if self._transport is None:
            return
        if not exchange.request.keep_alive or self._refused:
            self._transport.close()
            return
        self._start_idling()
        if not self._dispatching:
            self._serve_queue()

    def after_flush(self, action: Callable[[], None]) -> None:
        """Call when what was written so far has been handed to the kernel (uvloop writes at the turn's end)."""
        self._loop.call_soon(self._loop.call_soon, action)

    def close(self) -> None:
        """Close in order."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Close with a TCP reset."""
        if self._transport is None:
            return
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()
        if self._exchange is not None:
            self._exchange.abort("killed")

    def abort(self) -> None:
        """Close without waiting for what is still to be written."""
        if self._transport is not None:
            self._transport.abort()

    # -- endings

    def _start_idling(self) -> None:
        """Watch for an idle connection with one timer that is moved on rarely, not one per request."""
        self._idle_since = self._loop.time()
        if self._idle_timer is None:
            seconds = self.worker.config.idle_close_seconds
            self._idle_timer = self._loop.call_at(self._idle_since + seconds, self._check_idle)

    def _check_idle(self) -> None:
        self._idle_timer = None
        if self._idle_since is None or not self.idle:
            return  # busy: the next answer's end starts the timer again
        ends = self._idle_since + self.worker.config.idle_close_seconds
        if self._loop.time() >= ends:
            self.close()
        else:
            self._idle_timer = self._loop.call_at(ends, self._check_idle)

    def _refuse(self, status: int, text: bytes) -> None:
        """Answer a request that cannot be taken and close: what follows it cannot be trusted."""
        self._refused = True
        record, self._record, self._receiving = self._record, None, False
        if record is not None:
            record.status = status
            self.worker.recorder.end(record, "finished")
        if self._exchange is not None:
            return  # an answer is being written; the connection closes behind it
        head = wire.status_line(status) + self.date(self.worker.wall())
        self.write(head + wire.TEXT + wire.CLOSE + wire.length(len(text)) + b"\r\n" + text)
        # Closing with unread bytes would reset the connection, and the client might never see the answer.
        if self._transport is not None:
            self._transport.write_eof()
            self._idle_timer = self._loop.call_later(_LINGER_SECONDS, self.close)
