"""Whether the process at the other end of a connection has read what was sent to it: the kernel knows."""

from __future__ import annotations

import os
import socket
import struct
import time

from tests.integration.routers import PATIENCE

_REQUEST = struct.Struct("=IHHII BBBBI HH16s16sIQ")
_ANSWER = struct.Struct("=IHHII BBBB HH16s16sIQ II")
_SOCK_DIAG_BY_FAMILY = 20
_ALL_STATES = 0xFFFFFFFF
_ANY_COOKIE = 0xFFFFFFFFFFFFFFFF


def unread(stream: socket.socket) -> int:
    """Return how many bytes wait at the other end of a loopback connection; 0 when that end is gone."""
    try:
        (here, here_port), (there, there_port) = stream.getsockname(), stream.getpeername()
    except OSError:
        return 0
    request = _REQUEST.pack(
        _REQUEST.size, _SOCK_DIAG_BY_FAMILY, 1, 0, 0,
        socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _ALL_STATES,
        socket.htons(there_port), socket.htons(here_port), socket.inet_aton(there), socket.inet_aton(here),
        0, _ANY_COOKIE,
    )  # fmt: skip
    # NETLINK_SOCK_DIAG has no name in the standard library.
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as kernel:
        kernel.send(request)
        answer = kernel.recv(4096)
    if len(answer) < _ANSWER.size:
        return 0
    return int(_ANSWER.unpack_from(answer)[-1])


def send_and_be_read(stream: socket.socket, data: bytes) -> None:
    """Send, and wait until the other end has taken it: what is sent next comes to it on its own."""
    stream.sendall(data)
    deadline = time.monotonic() + PATIENCE
    while unread(stream):
        assert time.monotonic() < deadline, "waited in vain for the other end to read"
        os.sched_yield()
