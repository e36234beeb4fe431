"""granian's side of a request, in memory and in the test's own event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from dataplane.server import ASGIMessage, Scope

QUEUE = 4
"""Messages that granian's queue takes before `send` has to wait."""

Field = tuple[bytes, bytes]


class Done:
    """What granian returns when there is nothing to wait for."""


class FakeTransaction:
    """A client that takes an answer as fast as the test lets it, and leaves when the test says so."""

    def __init__(
        self,
        *,
        method: str = "POST",
        path: str = "/v1/completions",
        query: bytes = b"",
        headers: list[Field] | None = None,
    ) -> None:
        self.scope: Scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "headers": headers or [],
        }
        self.proto = self
        self.sent: list[ASGIMessage] = []
        self.late: list[ASGIMessage] = []
        """Messages that were sent after the request had been let go of."""
        self.done_calls = 0
        self.left = False
        self.receives = 0
        self.stalled = False
        self._unread = 0
        self._incoming: deque[ASGIMessage] = deque()
        self._receiving: asyncio.Future[ASGIMessage] | None = None
        self._full: deque[asyncio.Future[None]] = deque()

    # --- what the router calls -------------------------------------------------------------------------

    def receive(self) -> Any:
        assert self._receiving is None or self._receiving.done(), "two receives at once"
        assert self.done_calls == 0, "receive after done"
        self.receives += 1
        if self.left and not self._incoming:
            return Done()
        operation = asyncio.get_running_loop().create_future()
        if self._incoming:
            operation.set_result(self._incoming.popleft())
        else:
            self._receiving = operation
        return operation

    def send(self, message: ASGIMessage) -> Any:
        message = dict(message)
        if self.done_calls:
            self.late.append(message)
            raise RuntimeError("ASGI flow error: Transport not initialized or closed")
        if message["type"] == "http.response.start":
            assert not self.sent, "the answer began twice"
            message["headers"] = list(message["headers"])
        else:
            assert self.sent, "a body before the answer's start"
            assert self.sent[-1].get("more_body", True), "a body after the end"
        self.sent.append(message)
        self._unread += 1
        if self.stalled and self._unread >= QUEUE:
            operation = asyncio.get_running_loop().create_future()
            self._full.append(operation)
            return operation
        return Done()

    def done(self) -> None:
        self.done_calls += 1

    # --- what the client does --------------------------------------------------------------------------

    def give(self, body: bytes, *, more: bool = False) -> None:
        """Send a part of the request's body."""
        message = {"type": "http.request", "body": body, "more_body": more}
        if self._receiving is not None and not self._receiving.done():
            self._receiving.set_result(message)
        else:
            self._incoming.append(message)

    def leave(self) -> None:
        self.left = True
        if self._receiving is not None and not self._receiving.done():
            self._receiving.set_result({"type": "http.disconnect"})

    def read(self) -> None:
        """Read on, as fast as it comes."""
        self.stalled = False
        self._unread = 0
        while self._full:
            if not (operation := self._full.popleft()).done():
                operation.set_result(None)

    def read_some(self) -> None:
        """Read what is there, and then stall again."""
        self.read()
        self.stalled = True

    # --- what came of it -------------------------------------------------------------------------------

    @property
    def waiting_for_room(self) -> bool:
        return any(not operation.done() for operation in self._full)

    @property
    def listening(self) -> bool:
        """Whether the router would hear the client leave."""
        return self._receiving is not None and not self._receiving.done()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"]) if self.sent else 0

    @property
    def headers(self) -> list[Field]:
        headers: list[Field] = self.sent[0]["headers"]
        return headers

    def header(self, name: bytes) -> bytes | None:
        found = [value for field, value in self.headers if field == name]
        assert len(found) <= 1, (name, found)
        return found[0] if found else None

    @property
    def parts(self) -> list[bytes]:
        return [message["body"] for message in self.sent[1:]]

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def whole(self) -> bool:
        """Whether the answer was ended; otherwise the client sees it cut off."""
        return bool(self.sent) and self.sent[-1].get("more_body") is False
