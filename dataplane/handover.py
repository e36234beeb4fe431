"""A plane's listening socket goes to its successor, through a UNIX socket in the runtime folder.

Whoever connects there is given the socket; only the user that runs the router can. Each plane keeps what it has: the
two take clients from one queue until the older one is told to stop.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from pathlib import Path

from dataplane.listening import Listener, bind, is_on

logger = logging.getLogger(__name__)

PATIENCE = 1.0
"""Seconds that a predecessor has to answer: it does at once, unless it hangs."""


class Handover:
    """Gives the listener to whoever asks for it."""

    def __init__(self, path: Path, listener: Listener) -> None:
        self._path = path
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(socket.AF_UNIX)

    def open(self) -> None:
        """Begin. A folder that takes no socket costs the next plane in this slot a seamless start, and is logged."""
        try:
            self._path.unlink(missing_ok=True)
            self._socket.bind(str(self._path))
            self._socket.listen(4)
            self._socket.setblocking(False)
        except OSError as error:
            logger.error("can not offer the listening socket at %s: %s", self._path, error.strerror)
            return
        self._loop.add_reader(self._socket.fileno(), self._give)

    def close(self) -> None:
        """Give it to nobody any more."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
        self._path.unlink(missing_ok=True)

    def _give(self) -> None:
        # Who asked may have gone again.
        with suppress(OSError):
            asker, _ = self._socket.accept()
            with asker:
                asker.setblocking(False)
                socket.send_fds(asker, [b"l"], [self._listener.socket.fileno()])
                self._listener.is_shared = True


async def take_over(predecessor: Path | None, host: str, port: int) -> Listener:
    """Return the predecessor's socket, if there is one that listens on that address; else a new one. Raises OSError."""
    taken = None if predecessor is None else await asyncio.to_thread(_take, predecessor)
    if taken is None:
        return bind(host, port)
    if not is_on(taken, host, port):
        taken.close()
        return bind(host, port)
    return Listener(taken)


def _take(predecessor: Path) -> socket.socket | None:
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(PATIENCE)
            asking.connect(str(predecessor))
            _, descriptors, _, _ = socket.recv_fds(asking, 1, 1)
    except OSError as error:
        logger.warning("the plane before does not hand its clients' queue on: %s", error)
        return None
    if not descriptors:
        return None
    taken = socket.socket(fileno=descriptors[0])
    taken.set_inheritable(False)
    taken.setblocking(False)
    return taken
