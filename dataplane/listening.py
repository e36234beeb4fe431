"""The socket on which a plane takes clients, and how it leaves it without a client noticing.

Each plane has a socket of its own that shares the port (SO_REUSEPORT), so the kernel spreads clients over planes. What
waits in a socket's queue when it is closed is reset. So a plane that is replaced hands its socket on: its successor
takes from the same queue (`handover.py`), and this plane only stops taking. A plane without a successor first has the
kernel pass over new clients, for as long as those that are half connected need, takes them all, and closes then. A
client that comes in that moment tries again after a second and finds another plane.
"""

from __future__ import annotations

import ctypes
import ipaddress
import logging
import os
import socket
import struct

logger = logging.getLogger(__name__)

HUSH = 0.2
"""Seconds that clients have to finish connecting: a round trip over half the world."""

_SO_ATTACH_FILTER = 26
# Classic BPF on the TCP header: drop what has SYN and not ACK, which is a new connection's first packet.
_DROP_NEW = (
    (0x30, 0, 0, 13),  # A = byte 13: the flags
    (0x54, 0, 0, 0x12),  # A &= SYN | ACK
    (0x15, 0, 1, 0x02),  # if A == SYN
    (0x06, 0, 0, 0),  # drop, else
    (0x06, 0, 0, 0xFFFFFFFF),  # take
)


class Listener:
    """A listening socket. `is_shared` when another plane was given it, too."""

    def __init__(self, listening: socket.socket) -> None:
        self.socket = listening
        self.is_shared = False
        self._served: int | None = None

    def served(self) -> int:
        """Return a descriptor for the server, which closes it at its end."""
        self._served = os.dup(self.socket.fileno())
        return self._served

    def hush(self) -> None:
        """Have no new connection begin here. Those that have begun go on, and are to be taken.

        A system that knows no such filter costs those their connection that come in the last moment.
        """
        code = b"".join(struct.pack("=HBBI", *line) for line in _DROP_NEW)
        buffer = ctypes.create_string_buffer(code)
        program = struct.pack("HL", len(_DROP_NEW), ctypes.addressof(buffer))
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        except OSError as error:
            # Hardened systems let only root set one.
            logger.info("clients that connect in the last moment are reset: no socket filter (%s)", error.strerror)

    def withdraw(self) -> None:
        """Take no more clients, while the server goes on with those that it has.

        The server knows no way to do one without the other, so its descriptor becomes that of a socket to which nobody
        connects.
        """
        if self._served is not None:
            with socket.socket(socket.AF_UNIX) as nobody:
                # Linux gives it a name of its own choice.
                nobody.bind("")
                nobody.listen(1)
                nobody.setblocking(False)
                os.dup2(nobody.fileno(), self._served, inheritable=False)
            self._served = None
        self.socket.close()


def bind(host: str, port: int) -> Listener:
    """Return a socket of our own on a port that planes share. Raises OSError."""
    listening = socket.socket(_family(host), socket.SOCK_STREAM)
    try:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            listening.setsockopt(socket.SOL_SOCKET, option, 1)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.setblocking(False)
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    return Listener(listening)


def is_on(listening: socket.socket, host: str, port: int) -> bool:
    """Whether a socket listens on that address: a plane of other settings may have had another one."""
    if listening.family != _family(host) or not listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return False
    name = listening.getsockname()
    return ipaddress.ip_address(name[0]) == ipaddress.ip_address(host) and name[1] == port


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
