"""Requests of which only the head has come.

granian announces a request in a thread of its own and tells the event loop. Asking for the body only then
costs another turn through granian's threads and back, about a tenth of a small request. So it is asked for
in granian's thread, and the event loop hears of the request with the first part of its body. One whose body
does not begin is taken in all the same, by `take_late`: its time limits and its account must not wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dataplane.client import Client
from dataplane.server import Transaction
from dataplane.socket_client import SocketClient


class Arrivals:
    """Calls `handle` in the event loop, once per request.

    `announce` runs in granian's thread, all else in the event loop. What both touch is one dict, by operations
    that the interpreter's lock makes whole.
    """

    def __init__(self, handle: Callable[[Client], None]) -> None:
        """Take requests in to `handle`."""
        self._handle = handle
        self._call = asyncio.get_running_loop().call_soon_threadsafe
        self._waiting: dict[Client, None] = {}
        self._late: list[Client] = []

    def announce(self, transaction: Transaction) -> None:
        """Take a request from granian."""
        client = SocketClient(transaction) if transaction.scope["type"] == "websocket" else Client(transaction)
        self._waiting[client] = None
        if client.is_socket or b"expect" in client.fields:
            # To ask for the body is to send "100 Continue": whether it is wanted must be known first.
            self._call(self._take, client)
        else:
            client.listen_early(self._take)

    def _take(self, client: Client) -> None:
        if client in self._waiting:
            del self._waiting[client]
            self._handle(client)

    def take_late(self, *, all_of_them: bool = False) -> None:
        """Take in those that wait since the last call, or all. Called about once a second."""
        for client in list(self._waiting) if all_of_them else self._late:
            self._take(client)
        self._late = list(self._waiting)
