"""From which addresses registrations are taken, and which addresses they may name.

A registration makes the router connect to the address that it names: for whoever may register, the router is a way
to reach what it can reach. By default these are the networks that no stranger on the internet can send from or be
reached in, without link-local addresses: clouds answer there with secrets (169.254.169.254).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from controlplane.discovery.refusals import RefusedError, shown

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PRIVATE = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    # What carriers and clouds use inside (RFC 6598).
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
)
"""What counts where the operator names no networks."""


def read_address(text: str) -> Address | None:
    """Return the address that a text is; None when it is none. An IPv4 address in an IPv6 one is the former."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        # A zone means something on one host only.
        return None if found.scope_id is not None else found.ipv4_mapped or found
    return found


class Networks:
    """The networks of `--discovery-allow`, or the private ones."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """`allowed` has been checked (`shared.config_faults`)."""
        self._networks = tuple(ipaddress.ip_network(text) for text in tuple(allowed) or PRIVATE)

    def check_sender(self, peer: str) -> None:
        """Raise RefusedError unless registrations are taken from there."""
        address = read_address(peer)
        if address is None or not self.has(address):
            raise RefusedError("network", f"{shown(peer)} is in none of the networks of --discovery-allow")

    def check_named(self, host: str, peer: str) -> None:
        """Raise RefusedError unless a sender may name an address as a worker's."""
        address, sender = read_address(host), read_address(peer)
        if address is None:
            raise RefusedError(
                "address", f"{shown(host)} is no IP address; set VLLM_HOST_IP (or --advertise-url) to the worker's"
            )
        if address.is_unspecified or address.is_multicast:
            raise RefusedError(
                "address", f"nobody can be reached at {address}; set VLLM_HOST_IP to the worker's address"
            )
        if not self.has(address):
            raise RefusedError("network", f"it names {address}, which is in none of the networks of --discovery-allow")
        if address.is_loopback and sender is not None and not sender.is_loopback:
            raise RefusedError("address", f"it names {address}, which is another host for it than for the router")

    def has(self, address: Address) -> bool:
        """Whether an address is in one of them."""
        return any(address.version == network.version and address in network for network in self._networks)
