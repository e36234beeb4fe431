"""A request for a WebSocket: one like all others, and messages both ways once a worker agrees."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from dataplane.compose import compose
from dataplane.leg import Message
from dataplane.realtime import forbidden
from dataplane.request import Request
from dataplane.socket_client import SocketClient
from dataplane.tunnel import Tunnel
from shared import websocket
from shared.errors import model_not_allowed

if TYPE_CHECKING:
    from dataplane.client_keys import Holder
    from dataplane.slot import Slot

_UPGRADE = b"connection: Upgrade\r\nupgrade: websocket\r\n"
_EXTENSIONS = frozenset({b"sec-websocket-extensions"})
"""The server has agreed to none with the client."""


class SocketRequest(Request):
    """The client's key goes to the worker, whose answer is checked by it; what it agrees to is the client's."""

    __slots__ = ()

    exchange_type = Tunnel

    def begin(self) -> None:
        """Have what the client says in its session looked at, too, where its key is for some models only."""
        client, key = self.client, self.client.key
        names_model_later = client.route.model == "query" and key is not None and key.models is not None
        if isinstance(client, SocketClient) and key is not None and names_model_later:
            client.takes = partial(self._takes, client, key)
        super().begin()

    def _takes(self, client: SocketClient, key: Holder, message: websocket.Message) -> bool:
        """End the session where a message names a model that the key is not for."""
        model = forbidden(message.payload, key)
        if model is None:
            return True
        error = model_not_allowed(key.name, model or None)
        client.hang_up(websocket.POLICY, error.code)
        self._end(error)
        return False

    def message(self, slot: Slot) -> Message:
        """Return the handshake, the same for each worker."""
        if self._message is None:
            line, fields, body = compose(self, self._forwarder.fleet, b"", without=_EXTENSIONS)
            self._message = line, _UPGRADE + fields, body
        return self._message
