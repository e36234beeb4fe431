"""A client that asks for a WebSocket: `Client` until it is accepted or refused, messages from then on.

granian speaks the frames with the client and answers its pings; we get whole messages, of at most 16 MiB. It can put no
field into the 101 but the subprotocol, so the request's id does not come back there. A refusal is an ordinary answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dataplane.client import Client, Headers
from dataplane.server import FutureLike, Transaction, waiting
from shared.websocket import BINARY, GOING_AWAY, INTERNAL_ERROR, NO_STATUS, NORMAL, TEXT, Message

MOST_REFUSAL = 64 * 1024
"""Bytes of a worker's refusal that are passed on."""


class SocketClient(Client):
    """`heard` gets each message, and None once when the client has closed, with the code that it gave."""

    __slots__ = ("_accepted", "_closed", "_ending", "_heard_message", "_refusal", "closed_with", "takes")

    is_socket = True

    def __init__(self, transaction: Transaction) -> None:
        # A handshake is a GET; ASGI does not say so.
        transaction.scope["method"] = "GET"
        super().__init__(transaction)
        self._accepted = False
        self._closed = False
        self._ending = False
        self._refusal: tuple[int, Headers, bytearray] | None = None
        self._heard_message: Callable[[Message | None], None] | None = None
        self.closed_with = (NO_STATUS, "")
        self.takes: Callable[[Message], bool] | None = None
        """Whether a message of the client's goes on; None: any does. Where it says no, it has ended the request."""

    @property
    def has_promised(self) -> bool:
        """Nothing: no other request comes on its connection."""
        return False

    def read_body(self, limit: int, on_body: Callable[[bytes | bytearray], None], left: Callable[[], None]) -> None:
        """Call `on_body` with nothing: a handshake has no body."""
        waiting(self._receive())
        on_body(b"")

    def watch(self) -> None:
        """Do nothing: the server tells of a leaving only once the socket is accepted."""

    # --- a refusal -------------------------------------------------------------------------------------

    def start(self, status: int, headers: Headers) -> None:
        """Begin to refuse."""
        self.started = True
        self._refusal = (status, headers, bytearray())

    def send(self, data: bytes) -> FutureLike | None:
        """Take a part of the refusal, which is sent when it is whole."""
        if self._refusal is not None:
            body = self._refusal[2]
            body += data[: MOST_REFUSAL - len(body)]
        return None

    def finish(self, last: bytes = b"") -> None:
        """Send the refusal, if it is one that comes in parts."""
        self.send(last)
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            status, headers, body = refusal
            self.answer(status, headers, bytes(body))

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Refuse."""
        self.started = self._closed = True
        self._send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        self._let_go_after(self._send({"type": "websocket.http.response.body", "body": body, "more_body": False}))

    # --- the socket ------------------------------------------------------------------------------------

    def accept(self, subprotocol: str | None, done: Callable[[], None]) -> None:
        """Accept; `done` is called when messages can be sent."""
        self.started = self._accepted = True
        self._after(self._send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": []}), done)

    def listen(self, heard: Callable[[Message | None], None]) -> None:
        """Call `heard` with the next message, or None when the client has closed."""
        self._heard_message = heard
        operation = self._watch = waiting(self._receive())
        if operation is None:
            self._hear(None)
        else:
            operation.add_done_callback(self._told)

    def _told(self, operation: FutureLike) -> None:
        # One that is not ours any more was cancelled.
        if operation is self._watch:
            self._hear(operation.result())

    def _hear(self, told: dict[str, Any] | None) -> None:
        self._watch = None
        heard, self._heard_message = self._heard_message, None
        if heard is None:
            return
        if told is None or told["type"] != "websocket.receive":
            self._closed = True
            if told is not None:
                self.closed_with = (told.get("code") or NO_STATUS, told.get("reason") or "")
            heard(None)
        else:
            text = told.get("text")
            message = Message(BINARY, told["bytes"]) if text is None else Message(TEXT, text.encode())
            if self.takes is None or self.takes(message):
                heard(message)

    def tell(self, message: Message, done: Callable[[], None]) -> None:
        """Send a message; the next one may be sent when `done` is called. Raises UnicodeDecodeError."""
        told: dict[str, Any] = {"type": "websocket.send"}
        if message.opcode == TEXT:
            told["text"] = message.payload.decode()
        else:
            told["bytes"] = message.payload
        self._after(self._send(told), done)

    def hang_up(self, code: int, reason: str) -> None:
        """Close with a code."""
        if self._accepted and not self._closed:
            self._closed = True
            told = {"type": "websocket.close", "code": NORMAL if code == NO_STATUS else code, "reason": reason}
            self._let_go_after(self._send(told))

    def close(self) -> None:
        """Let go; a socket that nobody has closed is closed with an error."""
        self._heard_message = self.takes = None
        self.unwatch()
        self.hang_up(GOING_AWAY if self.is_last else INTERNAL_ERROR, "the worker or the router ended it")
        if not self._ending:
            self._transaction.done()
        del self._transaction, self._receive, self._send

    def _let_go_after(self, operation: Any) -> None:
        # What is let go of is closed, even before its last frame is out.
        self._ending = True
        self._after(operation, self._transaction.done)

    @staticmethod
    def _after(operation: Any, done: Callable[[], None]) -> None:
        waited = waiting(operation)
        if waited is None:
            done()
        else:
            waited.add_done_callback(lambda _: done())
