"""Reading on after a refusal, so that a client who still sends its body gets to read why it should not.

A connection that is closed with unread bytes in it is reset, and the reset may overtake the answer on its way
to the client, or break the client's writing before it looks for an answer (RFC 9112, section 9.6). So what
comes is read and thrown away, for a while.
"""

from __future__ import annotations

import asyncio
from typing import Any

from dataplane.server import FutureLike, Transaction, waiting

LONGEST = 10.0
"""Seconds in all: a client that would send for longer than this is cut off."""
QUIET = 2.0
"""Seconds without a byte, to within as much again: this client waits for the end of the connection itself."""


class Lingering:
    """Keeps a request that has its answer open until its body has come, its client has left, or time is up."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + LONGEST
        self._heard_anything = False
        self._over = False
        self._operation: FutureLike | None = None
        self._timer = self._loop.call_later(QUIET, self._look)
        self._listen()

    def _listen(self) -> None:
        self._operation = waiting(self._transaction.proto.receive())
        if self._operation is None:
            self._end()
        else:
            self._operation.add_done_callback(self._heard)

    def _heard(self, operation: Any) -> None:
        if self._over:
            return
        message = operation.result()
        self._heard_anything = True
        if message["type"] == "http.request" and message["more_body"]:
            self._listen()
        else:
            self._end()

    def _look(self) -> None:
        if not self._heard_anything or self._loop.time() >= self._until:
            self._end()
            return
        self._heard_anything = False
        self._timer = self._loop.call_later(QUIET, self._look)

    def _end(self) -> None:
        self._over = True
        self._timer.cancel()
        # Kept by nothing but a reference to each other, they would keep the connection open until a collection.
        operation, self._operation = self._operation, None
        if operation is not None:
            operation.cancel()
        self._transaction.done()
        del self._transaction
