"""A worker that speaks TLS on blocking sockets, so that a test decides how its connections end."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

import trustme

PATIENCE = 10.0
"""Seconds that a connection may stand still."""

End = Callable[[ssl.SSLSocket], None]


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """A server's context with that certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


def requires_client_certificate(context: ssl.SSLContext, authority: trustme.CA) -> ssl.SSLContext:
    """The same context, for clients of that authority only."""
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    return context


def close(connection: ssl.SSLSocket) -> None:
    """Close as TLS has it: say so first (close_notify), and do not wait for the other side's word."""
    connection.settimeout(0)
    with suppress(OSError):
        connection.unwrap()


def close_without_notice(connection: ssl.SSLSocket) -> None:
    """Close as anybody on the way could: end the TCP connection."""


class TlsWorker:
    """Gives every request, which has no body, the same answer; then `end` closes the connection (None: it stays)."""

    def __init__(self, context: ssl.SSLContext, answer: bytes, *, end: End | None = close) -> None:
        self.context = context
        self.answer = answer
        self.end = end
        self.connections = 0
        """Connections taken so far, whatever came of their handshake."""
        self.closed = 0
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        # A blocked accept() ends with a shutdown, not with a close.
        self._listener.shutdown(socket.SHUT_RDWR)
        for one in list(self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                self.connections += 1
                self._start(self._serve, plain)

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(PATIENCE)
        with plain, suppress(OSError), self.context.wrap_socket(plain, server_side=True) as connection:
            self._open.append(connection)
            while _request(connection):
                connection.sendall(self.answer)
                if self.end is not None:
                    self.end(connection)
                    break
        self.closed += 1


def _request(connection: ssl.SSLSocket) -> bytes:
    """Read a request's head; empty when the client has closed."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        part = connection.recv(65536)
        if not part:
            return b""
        head += part
    return head
