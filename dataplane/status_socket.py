"""The plane's own socket: whoever may enter the runtime folder can ask how the plane is, control plane or not."""

from __future__ import annotations

import logging
from collections.abc import Callable

from shared.messages import MessageError, PlaneRetire, PlaneStatus, decode_plane_socket, encode
from shared.sockets import Context, control_server, send_or_drop

logger = logging.getLogger(__name__)


class StatusSocket:
    """Answers each request with what `status` returns; `retire` is called for a `PlaneRetire` before."""

    def __init__(
        self, context: Context, endpoint: str, status: Callable[[], PlaneStatus], retire: Callable[[], None]
    ) -> None:
        self._socket = control_server(context, endpoint)
        self._status = status
        self._retire = retire

    async def run(self) -> None:
        """Answer until cancelled."""
        try:
            while True:
                identity, *frames = await self._socket.recv_multipart()
                try:
                    message = decode_plane_socket(frames[-1] if frames else b"")
                except MessageError as error:
                    logger.debug("ignored on the status socket: %s", error)
                    continue
                if isinstance(message, PlaneRetire):
                    self._retire()
                if not isinstance(message, PlaneStatus):
                    send_or_drop(self._socket, [identity, encode(self._status())])
        finally:
            self._socket.close()
