"""Addresses of ZeroMQ over TCP, `tcp://HOST:PORT`; for planes on other hosts it is two ports next to each other."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

EXAMPLE = "tcp://10.0.0.1:30100"
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,253}")


class TcpAddress(NamedTuple):
    """One port of a host."""

    host: str
    port: int

    def __str__(self) -> str:
        return _endpoint(self.host, self.port)


class RemoteAddress(NamedTuple):
    """Planes ask and report at `port`; the table is published at the next one."""

    host: str
    port: int

    @property
    def control_endpoint(self) -> str:
        """Where the control plane answers and takes reports (ROUTER)."""
        return _endpoint(self.host, self.port)

    @property
    def publish_endpoint(self) -> str:
        """Where it publishes (XPUB)."""
        return _endpoint(self.host, self.port + 1)

    @property
    def ports(self) -> tuple[int, int]:
        """Both ports."""
        return self.port, self.port + 1

    def __str__(self) -> str:
        return self.control_endpoint


def parse_tcp_address(where: str, text: str) -> TcpAddress:
    """Read `tcp://HOST:PORT`. Raises ValueError, whose message says what is wrong and what to write."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"{where} is {text!r}; write tcp://HOST:PORT, such as {EXAMPLE}") from None
    rest = (parts.path, parts.query, parts.fragment, parts.username or "", parts.password or "")
    if parts.scheme != "tcp" or not _NAME.fullmatch(host) or port is None or any(rest):
        raise ValueError(f"{where} is {text!r}; write tcp://HOST:PORT, such as {EXAMPLE}")
    if port == 0:
        raise ValueError(f"{where} has port 0; write one from 1 to 65535")
    return TcpAddress(host, port)


def parse_remote_address(where: str, text: str) -> RemoteAddress:
    """Read the address for planes on other hosts. Raises ValueError as `parse_tcp_address` does."""
    host, port = parse_tcp_address(where, text)
    if port > 65534:
        raise ValueError(f"{where} has port {port}; write one from 1 to 65534, as the next one is used, too")
    return RemoteAddress(host, port)


def _endpoint(host: str, port: int) -> str:
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
