"""A WebSocket between a client and a worker: one `Exchange`, from the handshake to the end of either side.

Each direction holds one message and what one read of a socket brought, and waits for the other side to take it: a
client that does not read stops the worker, and the other way round. What one side closes with, the other one is closed
with.
"""

from __future__ import annotations

import os
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from dataplane.client import Headers
from dataplane.exchange import Exchange
from dataplane.retry import Outcome
from dataplane.timeouts import Phase, Place
from shared import websocket
from shared.websocket import FrameError, Message, Reader

if TYPE_CHECKING:
    from dataplane.socket_client import SocketClient

MOST = 16 * 1024 * 1024
"""Bytes of a worker's message: as many as the server takes of a client's."""


class Tunnel(Exchange):
    """Takes a worker's answer; 101 opens the tunnel, any other one is the client's refusal."""

    __slots__ = ("_is_open", "_outgoing", "_reader", "_telling")

    _reader: Reader
    _outgoing: deque[Message]
    _telling: bool
    _is_open: bool

    @property
    def _socket(self) -> SocketClient:
        return cast("SocketClient", self._client)

    def place(self) -> Place:
        """Where it is; what comes from either side is progress."""
        if self.status == HTTPStatus.SWITCHING_PROTOCOLS and self._telling and self._outgoing:
            return Place(Phase.BLOCKED, self.parts)
        return super().place()

    # --- the handshake ---------------------------------------------------------------------------------

    def on_switched(self, headers: Headers) -> Tunnel:
        """Have the client accepted, if the worker's answer is one to its handshake."""
        self.first_byte_at = self._time()
        self.status = HTTPStatus.SWITCHING_PROTOCOLS.value
        self.headers = headers
        self._reader = Reader(masked=False, most=MOST)
        self._outgoing = deque()
        self._telling = self._is_open = True
        self._begins(self.status, headers)
        named = dict(headers)
        key = self._socket.fields.get(b"sec-websocket-key", b"")
        if named.get(b"sec-websocket-accept") != websocket.accept_of(key):
            self._fail("is no answer to a WebSocket's handshake")
        else:
            subprotocol = named.get(b"sec-websocket-protocol")
            self._socket.accept(subprotocol.decode("latin-1") if subprotocol is not None else None, self._accepted)
        return self

    def _accepted(self) -> None:
        if self._is_open:
            self._listen()
            self._told()

    # --- from the worker -------------------------------------------------------------------------------

    def feed_data(self, data: bytes | memoryview) -> None:
        """Take what came from the worker."""
        connection = self._connection
        if connection is None or not self._is_open:
            return
        connection.alive()
        try:
            for message in self._reader.feed(data):
                self.parts += 1
                if message.opcode == websocket.PING:
                    self._send(Message(websocket.PONG, message.payload))
                elif message.opcode != websocket.PONG:
                    self._outgoing.append(message)
        except FrameError as error:
            self._send(Message(websocket.CLOSE, websocket.close_payload(error.code, str(error))))
            self._fail(f"is no WebSocket's: {error}")
            return
        if not self._telling:
            self._told()
        elif self._outgoing:
            connection.pause()

    def _told(self) -> None:
        """Send the client the next message, now that the one before is sent."""
        self._telling = False
        if not self._is_open:
            return
        if not self._outgoing:
            if self._connection is not None:
                self._connection.resume()
            elif self.reason:
                self._fail(self.reason)
            return
        message = self._outgoing.popleft()
        try:
            if message.opcode == websocket.CLOSE:
                code, reason = websocket.close_of(message.payload)
                self._send(message)
                self._socket.hang_up(code, reason)
                self._finish()
                return
            self._telling = True
            self._socket.tell(message, self._told)
        except UnicodeDecodeError:
            self._send(Message(websocket.CLOSE, websocket.close_payload(websocket.NOT_UTF8)))
            self._fail("is a WebSocket's text that is not UTF-8")
        except FrameError as error:
            self._fail(f"is no WebSocket's: {error}")

    # --- from the client -------------------------------------------------------------------------------

    def _listen(self) -> None:
        if self._is_open:
            self._socket.listen(self._heard)

    def _heard(self, message: Message | None) -> None:
        connection = self._connection
        if not self._is_open:
            return
        self.parts += 1
        if connection is None:
            # The worker is gone, and what it sent last is on its way to the client.
            return
        if message is None:
            self._send(Message(websocket.CLOSE, _closing(*self._socket.closed_with)))
            self._finish()
            return
        self._send(message)
        if connection.is_full:
            connection.on_room = self._listen
        else:
            self._listen()

    def _send(self, message: Message) -> None:
        if self._connection is not None:
            frame = websocket.encode(message.opcode, message.payload, mask=os.urandom(4))
            self._connection.transport.write(frame)

    # --- ends ------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """End: one side has closed, and the other one knows."""
        self._is_open = False
        connection, self._connection = self._connection, None
        self._over = True
        if connection is not None:
            connection.close()
        self._ended(Outcome.COMPLETE)

    def _fail(self, reason: str) -> None:
        self.reason = reason
        self._is_open = False
        connection, self._connection = self._connection, None
        self._over = True
        if connection is not None:
            connection.close()
        self._ended(Outcome.TRUNCATED if self._client.started else Outcome.BROKEN)

    def on_broken(self, reason: str) -> None:
        """Know that the worker is gone."""
        if self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            super().on_broken(reason)
            return
        self._connection = None
        self.reason = reason
        if not self._telling:
            self._fail(reason)
        # What came before is the client's, and may end with a reason of the worker's own.

    def abandon(self) -> None:
        """Send nothing more, and close the connection if it is still ours."""
        if self.status == HTTPStatus.SWITCHING_PROTOCOLS:
            self._is_open = False
        super().abandon()


def _closing(code: int, reason: str) -> bytes:
    """Return what a close frame says for what the client closed with; nothing for what may not be sent."""
    payload = websocket.close_payload(code, reason) if 0 <= code < 1 << 16 else b""
    try:
        websocket.close_of(payload)
    except FrameError:
        return b""
    return payload
