"""By which address a router reaches an engine. Routers know those that register by IP addresses only.

For an engine that listens beside us it is the one that we would reach the router from; a name is looked up, once.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from controlplane.discovery.networks import read_address
from controlplane.register.announcing import is_loopback
from shared.config import join_address
from shared.remote_address import TcpAddress

_UNSPECIFIED = ("0.0.0.0", "::")


class NoAddressError(Exception):
    """The address can not be found out. The message says why and what to do."""


def advertised(url: str, routers: Iterable[TcpAddress]) -> str:
    """Return the engine's URL as routers reach it: its own, unless it is loopback and a router is elsewhere.

    Resolves the engine's name, and the router's. Raises NoAddressError.
    """
    url = with_address(url)
    parts = urlsplit(url)
    host = parts.hostname or ""
    elsewhere = [router for router in routers if not is_loopback(router.host)]
    if not (is_loopback(host) and elsewhere):
        return url
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{join_address(_towards(elsewhere[0]), port)}"


def with_address(url: str) -> str:
    """Return a URL with the address of the host that it names."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if read_address(host) is not None or is_loopback(host):
        return url
    if parts.scheme == "https":
        # Its certificate is for the name.
        raise NoAddressError(
            f"{url} names a host, and routers know workers by IP addresses; give --advertise-url "
            "https://ADDRESS:PORT, and the routers --worker-server-name for the name in its certificate"
        )
    try:
        found = socket.getaddrinfo(host, parts.port or 80, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NoAddressError(
            f"{host} does not resolve ({error.strerror}), and routers know workers by IP addresses; give "
            "--advertise-url http://ADDRESS:PORT"
        ) from None
    address = str(found[0][4][0])
    return f"http://{join_address(address, parts.port or 80)}"


def _towards(router: TcpAddress) -> str:
    try:
        found = socket.getaddrinfo(router.host, router.port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            # Of UDP nothing is sent by this: the kernel only chooses the way.
            probe.connect(address)
            own: str = probe.getsockname()[0]
    except OSError as error:
        raise NoAddressError(
            f"our address towards {router} can not be found out: {error.strerror}; give --advertise-url"
        ) from None
    if own in _UNSPECIFIED:
        raise NoAddressError(f"our address towards {router} can not be found out; give --advertise-url")
    return own
