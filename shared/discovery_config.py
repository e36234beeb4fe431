"""What is wrong with the values about discovery: `--vllm-discovery-address` and `--discovery-allow`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from shared.config import StartConfig, flag_of, join_address

EXAMPLE = "0.0.0.0:30001"
_PORTS = ("port", "admin_port", "prometheus_port")


def parse_discovery_address(text: str) -> tuple[str, int]:
    """Read `IP:PORT`, an IPv6 address in brackets. Raises ValueError."""
    host, _, port = text.removeprefix("tcp://").rpartition(":")
    if host == "localhost":
        host = "127.0.0.1"
    address = ipaddress.ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    if address.version == 6 and not host.startswith("["):
        raise ValueError("an IPv6 address stands in brackets")
    if not port.isascii() or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ValueError("the port is from 1 to 65535")
    return str(address), int(port)


def discovery_problems(config: StartConfig) -> Iterator[tuple[tuple[str, ...], str, str | None]]:
    """Yield the fields, the whole text and the wrong part of everything that can not work."""
    for text in config.discovery_allow:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            said = f"--discovery-allow has {text!r} ({error}); write networks, such as 10.0.0.0/8"
            yield ("discovery_allow",), said, text
    if config.vllm_discovery_address is None:
        if config.discovery_allow:
            said = "--discovery-allow has no effect without --vllm-discovery-address; give both or leave it out"
            yield ("discovery_allow",), said, None
        return
    field = "vllm_discovery_address"
    try:
        host, port = parse_discovery_address(config.vllm_discovery_address)
    except ValueError:
        said = f"--vllm-discovery-address is {config.vllm_discovery_address!r}; write ADDRESS:PORT, such as {EXAMPLE}"
        yield (field,), said, None
        return
    for other in _PORTS:
        if getattr(config, other) == port:
            said = f"{flag_of(other)} and --vllm-discovery-address are both {port}; give them different ports"
            yield (other, field), said, None
    if ipaddress.ip_address(host).is_global and not config.discovery_allow:
        said = (
            f"--vllm-discovery-address is {join_address(host, port)}, a public address, where registrations can come "
            "from anybody; name the workers' networks with --discovery-allow, such as 203.0.113.0/24"
        )
        yield (field,), said, None
