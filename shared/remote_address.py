"""Where the control plane listens for planes on other hosts: one address, two ports next to each other."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

EXAMPLE = "tcp://10.0.0.1:30100"
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,253}")


class RemoteAddress(NamedTuple):
    """Planes ask and report at `port`; the table is published at the next one."""

    host: str
    port: int

    @property
    def control_endpoint(self) -> str:
        """Where the control plane answers and takes reports (ROUTER)."""
        return self._endpoint(self.port)

    @property
    def publish_endpoint(self) -> str:
        """Where it publishes (XPUB)."""
        return self._endpoint(self.port + 1)

    @property
    def ports(self) -> tuple[int, int]:
        """Both ports."""
        return self.port, self.port + 1

    def _endpoint(self, port: int) -> str:
        return f"tcp://[{self.host}]:{port}" if ":" in self.host else f"tcp://{self.host}:{port}"

    def __str__(self) -> str:
        return self.control_endpoint


def parse_remote_address(where: str, text: str) -> RemoteAddress:
    """Read `tcp://HOST:PORT`. Raises ValueError, whose message says what is wrong and what to write."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"{where} is {text!r}; write tcp://HOST:PORT, such as {EXAMPLE}") from None
    rest = (parts.path, parts.query, parts.fragment, parts.username or "", parts.password or "")
    if parts.scheme != "tcp" or not _NAME.fullmatch(host) or port is None or any(rest):
        raise ValueError(f"{where} is {text!r}; write tcp://HOST:PORT, such as {EXAMPLE}")
    if not 1 <= port <= 65534:
        raise ValueError(f"{where} has port {port}; write one from 1 to 65534, as the next one is used, too")
    return RemoteAddress(host, port)
