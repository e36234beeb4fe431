"""How many clients are connected, and the end of those that never say anything or take no answer.

granian takes no more connections than its limit, idle ones included; past it new clients wait in the kernel's
queue and nobody is told. It does not tell how many there are either, and a connection on which nothing was ever
sent has no time limit there: a few thousand of them would shut everybody else out. Nor is there an end to its
waiting for a client that does not read what is left of an answer that was broken off. So a plane looks at its
own sockets, some at a time, and for at most a hundredth of its time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
import time
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

logger = logging.getLogger(__name__)

Peer = tuple[str, int]
"""The address of a client, as it is bound at its end."""

SILENT_LIMIT = 30.0
"""Seconds within which the first request must begin: as long as a request's head may take."""
NEARLY_FULL = 0.8
"""Part of the limit from which on the log warns."""

_SHORTEST_REQUEST = 24
# Bytes: what granian reads before it knows which HTTP it is, and starts its own clock.
_SLICE = 256
_SLICE_PAUSE = 0.02
_SHARE_OF_TIME = 0.01
_LEAST_PAUSE = 1.0

# Of the kernel's struct tcp_info: tcpi_state, tcpi_last_data_recv (ms), tcpi_bytes_received.
_STATE = struct.Struct("=B")
_LAST_RECEIVED = (struct.Struct("=I"), 52)
_BYTES_RECEIVED = (struct.Struct("=Q"), 128)
_TCP_INFO_SIZE = 136
_LISTENING = 10
_CLOSED = 7
_RESET = struct.pack("ii", 1, 0)
_TCP_NOTSENT_LOWAT = 25
_UNSENT = 128 * 1024
# Bytes: what the kernel keeps of an answer beyond what is on its way. Without a bound it is up to 4 MB for each
# client that does not read.


class ClientSocket(NamedTuple):
    """What is known of one client's connection; `quiet` is in seconds since it last sent anything."""

    received: int
    quiet: float
    is_unwanted: bool

    @property
    def must_go(self) -> bool:
        """Whether it is to be cut off, or was opened and then never used."""
        return self.is_unwanted or (self.received < _SHORTEST_REQUEST and self.quiet > SILENT_LIMIT)


class ClientConnections:
    """Counts the connections on this process's own port `port`; there may be `limit` of them."""

    def __init__(self, port: int, limit: int) -> None:
        self._port = port
        self.limit = limit
        self.open = 0
        self._level = 0
        self._unwanted: set[Peer] = set()

    def cut_off(self, peer: Peer) -> None:
        """Reset the connection from this address soon: granian would wait for ever for a client that reads nothing."""
        self._unwanted.add(peer)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            spent = await self.look()
            await asyncio.sleep(max(_LEAST_PAUSE, spent / _SHARE_OF_TIME))

    async def look(self) -> float:
        """Look at all connections, count them, and cut off those that must go; return the seconds it took."""
        spent = 0.0
        found = 0
        # Those that are added from now on may have been passed by already: the next look finds them.
        unwanted, self._unwanted = self._unwanted, set()
        for start in range(0, descriptor_table_size(), _SLICE):
            began = time.perf_counter()
            found += self._look(range(start, start + _SLICE), unwanted)
            spent += time.perf_counter() - began
            await asyncio.sleep(_SLICE_PAUSE)
        self.open = found
        self._tell()
        return spent

    def _look(self, descriptors: range, unwanted: Collection[Peer] = ()) -> int:
        found = 0
        for descriptor in descriptors:
            client = self._client(descriptor, unwanted)
            if client is not None:
                found += 1
                if client.must_go:
                    self._cut(descriptor, unwanted)
        return found

    def _client(self, descriptor: int, unwanted: Collection[Peer]) -> ClientSocket | None:
        try:
            looked_at = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
        except OSError:
            return None
        try:
            name = looked_at.getsockname()
            if not isinstance(name, tuple) or name[1] != self._port:
                return None
            info = looked_at.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
            (state,) = _STATE.unpack_from(info)
            if state == _LISTENING:
                # Those that are accepted from now on have it, too.
                looked_at.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _UNSENT)
            if state in (_LISTENING, _CLOSED):
                # Also one that is bound only: granian tries the address so.
                return None
            is_unwanted = bool(unwanted) and looked_at.getpeername()[:2] in unwanted
        except OSError:
            return None
        finally:
            # It is granian's; we only looked.
            looked_at.detach()
        if len(info) < _TCP_INFO_SIZE:
            return None
        (received,) = _BYTES_RECEIVED[0].unpack_from(info, _BYTES_RECEIVED[1])
        (quiet,) = _LAST_RECEIVED[0].unpack_from(info, _LAST_RECEIVED[1])
        return ClientSocket(received, quiet / 1000, is_unwanted)

    def _cut(self, descriptor: int, unwanted: Collection[Peer]) -> None:
        """Have granian see the connection's end. Its threads close and open others meanwhile: look again first."""
        try:
            held = os.dup(descriptor)
        except OSError:
            return
        client = self._client(held, unwanted)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=held) as connection:
            if client is not None and client.must_go:
                try:
                    # What waits in the kernel for a client that reads nothing must not outlive the connection.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    return

    def _tell(self) -> None:
        level = 2 if self.open >= self.limit else 1 if self.open >= NEARLY_FULL * self.limit else 0
        before, self._level = self._level, level
        if level > before:
            what = "no more fit: new clients wait unanswered" if level == 2 else "past the limit new clients wait"
            advice = "raise the limit of open files or the number of planes"
            logger.warning("%d of %d client connections are open; %s; %s", self.open, self.limit, what, advice)
        elif level == 0 < before:
            logger.info("%d of %d client connections are open", self.open, self.limit)


def descriptor_table_size() -> int:
    """Return a bound of this process's descriptors: the size of its table; 0 when that can not be told now."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("FDSize:")), 0)
