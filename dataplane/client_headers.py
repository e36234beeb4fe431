"""Which of a client's fields a worker must not believe, and what is done about each.

| field | rule |
|---|---|
| `x-forwarded-*`, `forwarded`, `x-real-ip` | passed on from `--trusted-proxies` only, taken out else |
| `x-routerctl-*` | the router's own: taken out |
| `authorization`, `x-api-key` | taken out where the router asks for keys; a worker gets the workers' key or none |
| `x-data-parallel-rank` | the router's own where workers are ranks (`client_rank.py`) |
| hop-by-hop fields, `host`, `content-length`, `expect`, `x-request-id` | set anew (`upstream/head.py`) |
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

Headers = Iterable[tuple[bytes, bytes]]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

FORWARDED_FOR = b"x-forwarded-for"
FORWARDED = frozenset(
    {
        FORWARDED_FOR,
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-real-ip",
        b"forwarded",
    }
)
"""What proxies say of the client behind them."""
OWN = frozenset(
    b"x-routerctl-" + name
    for name in (b"attempts", b"class", b"policy", b"queue-timeout-secs", b"table", b"why", b"worker")
)
"""The router's own: of answers, which in a request nobody has set but the client, and of requests for the router."""
NOT_BELIEVED = FORWARDED | OWN
"""What no worker gets as the client sent it."""
_MOST_HOPS = 32
"""Addresses that are looked at; a longer way is nobody's."""


class Forwarded(NamedTuple):
    """What a trusted proxy told: the client's address, and the fields that workers get."""

    client: str
    fields: tuple[tuple[bytes, bytes], ...]


class TrustedProxies:
    """The networks whose word on their clients counts."""

    def __init__(self, networks: Iterable[str]) -> None:
        """`networks` are addresses or networks, as `--trusted-proxies` has them. Raises ValueError."""
        self._networks = tuple(map(network_of, networks))

    def trusts(self, address: str) -> bool:
        """Whether that is the address of a trusted proxy."""
        try:
            # A proxy that comes over IPv4 to a socket of IPv6 is the same one.
            one = ipaddress.ip_address(address.removeprefix("::ffff:"))
        except ValueError:
            return False
        return any(one in network for network in self._networks)

    def forwarded(self, peer: str, headers: Headers) -> Forwarded | None:
        """Return what `peer` tells of its client; None when it is not believed, or tells nothing.

        The client is the last address of `X-Forwarded-For` that is no trusted proxy's: those before it are the
        client's own word.
        """
        if not self.trusts(peer):
            return None
        told = [field for field in headers if field[0] in FORWARDED]
        if not told:
            return None
        way = b", ".join(value for name, value in told if name == FORWARDED_FOR)
        hops = [hop.strip() for hop in way.decode("latin-1").split(",")][-_MOST_HOPS:] if way else []
        client = peer
        for hop in reversed(hops):
            if not _is_address(hop):
                break
            client = hop
            if not self.trusts(hop):
                break
        rest = [field for field in told if field[0] != FORWARDED_FOR]
        onward = way + b", " + peer.encode() if way else peer.encode()
        return Forwarded(client, (*rest, (FORWARDED_FOR, onward)))


def network_of(text: str) -> Network:
    """Return a network, or an address as one. Raises ValueError, whose message says what is wrong."""
    return ipaddress.ip_network(text)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
