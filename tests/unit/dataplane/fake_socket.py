"""granian's side of a WebSocket, in memory: what the client sends and reads is the test's to say."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from dataplane.server import ASGIMessage, Scope
from tests.unit.dataplane.fake_granian import Done

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


class FakeSocket:
    """A client that asks for a WebSocket. While it is `stalled`, no send comes to its end."""

    def __init__(self, *, path: str = "/v1/realtime", query: bytes = b"", protocols: tuple[str, ...] = ()) -> None:
        self.scope: Scope = {
            "type": "websocket",
            "http_version": "1.1",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "subprotocols": list(protocols),
            "headers": [
                (b"host", b"router"),
                (b"upgrade", b"websocket"),
                (b"connection", b"Upgrade"),
                (b"sec-websocket-key", KEY),
                (b"sec-websocket-version", b"13"),
                (b"sec-websocket-extensions", b"permessage-deflate"),
                (b"x-request-id", b"mine"),
            ],
        }
        self.proto = self
        self.sent: list[ASGIMessage] = []
        self.done_calls = 0
        self.stalled = False
        self.most_at_once = 0
        self._connected = False
        self._incoming: deque[ASGIMessage] = deque()
        self._receiving: asyncio.Future[ASGIMessage] | None = None
        self._sending: list[asyncio.Future[None]] = []

    def receive(self) -> Any:
        assert self.done_calls == 0, "receive after done"
        if not self._connected:
            self._connected = True
            return Done()
        assert self._receiving is None or self._receiving.done(), "two receives at once"
        operation: asyncio.Future[ASGIMessage] = asyncio.get_running_loop().create_future()
        if self._incoming:
            operation.set_result(self._incoming.popleft())
        else:
            self._receiving = operation
        return operation

    def send(self, message: ASGIMessage) -> Any:
        assert self.done_calls == 0, "send after done"
        self.sent.append(dict(message))
        operation: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sending = [one for one in self._sending if not one.done()]
        self._sending.append(operation)
        self.most_at_once = max(self.most_at_once, len(self._sending))
        if not self.stalled:
            operation.set_result(None)
        return operation

    def done(self) -> None:
        self.done_calls += 1

    def say(self, text: str) -> None:
        """Send a text."""
        self._give({"type": "websocket.receive", "text": text})

    def leave(self, code: int = 1000) -> None:
        """Close."""
        self._give({"type": "websocket.disconnect", "code": code})

    def read(self) -> None:
        """Read on."""
        self.stalled = False
        for operation in self._sending:
            if not operation.done():
                operation.set_result(None)

    def _give(self, message: ASGIMessage) -> None:
        if self._receiving is not None and not self._receiving.done():
            self._receiving.set_result(message)
        else:
            self._incoming.append(message)

    @property
    def kinds(self) -> list[str]:
        return [message["type"].removeprefix("websocket.") for message in self.sent]

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.sent if "text" in message]

    @property
    def closed_with(self) -> int | None:
        return next((message["code"] for message in self.sent if message["type"] == "websocket.close"), None)
