"""A request for a WebSocket: one like all others, and messages both ways once a worker agrees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataplane.compose import compose
from dataplane.leg import Message
from dataplane.request import Request
from dataplane.tunnel import Tunnel

if TYPE_CHECKING:
    from dataplane.slot import Slot

_UPGRADE = b"connection: Upgrade\r\nupgrade: websocket\r\n"
_EXTENSIONS = frozenset({b"sec-websocket-extensions"})
"""The server has agreed to none with the client."""


class SocketRequest(Request):
    """The client's key goes to the worker, whose answer is checked by it; what it agrees to is the client's."""

    __slots__ = ()

    exchange_type = Tunnel

    def message(self, slot: Slot) -> Message:
        """Return the handshake, the same for each worker."""
        if self._message is None:
            line, fields, body = compose(self, self._forwarder.fleet, b"", without=_EXTENSIONS)
            self._message = Message(line, _UPGRADE + fields, body)
        return self._message
