"""Where workers register, and what is wrong with the values about it: `--vllm-discovery-address`, `--discovery-*`."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path

from shared.config import StartConfig, flag_of, join_address

DISCOVERY_ADDRESSES = ("vllm_discovery_address", "discovery_curve_address")
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


def discovery_addresses(config: StartConfig) -> list[tuple[str, tuple[str, int]]]:
    """Return the fields that give an address, with it. Raises ValueError."""
    given = ((field, getattr(config, field)) for field in DISCOVERY_ADDRESSES)
    return [(field, parse_discovery_address(text)) for field, text in given if text is not None]


def discovery_problems(config: StartConfig) -> Iterator[tuple[tuple[str, ...], str, str | None]]:
    """Yield the fields, the whole text and the wrong part of everything that can not work."""
    for text in config.discovery_allow:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            said = f"--discovery-allow has {text!r} ({error}); write networks, such as 10.0.0.0/8"
            yield ("discovery_allow",), said, text
    if config.discovery_allow and not config.takes_registrations:
        said = (
            "--discovery-allow has no effect without --vllm-discovery-address or --discovery-curve-address; "
            "give one of them, or leave it out"
        )
        yield ("discovery_allow",), said, None
    yield from _key_problems(config)
    found: dict[str, tuple[str, int]] = {}
    for field in DISCOVERY_ADDRESSES:
        text = getattr(config, field)
        if text is None:
            continue
        try:
            found[field] = parse_discovery_address(text)
        except ValueError:
            yield (field,), f"{flag_of(field)} is {text!r}; write ADDRESS:PORT, such as {EXAMPLE}", None
    yield from _address_problems(config, found)


def _address_problems(
    config: StartConfig, found: dict[str, tuple[str, int]]
) -> Iterator[tuple[tuple[str, ...], str, str | None]]:
    taken = {getattr(config, field): field for field in _PORTS}
    for field, (_, port) in found.items():
        if (other := taken.get(port)) is not None:
            said = f"{flag_of(other)} and {flag_of(field)} are both {port}; give them different ports"
            yield (other, field), said, None
        taken[port] = field
    # By a key a worker is known wherever it is.
    if (plain := found.get(DISCOVERY_ADDRESSES[0])) is None:
        return
    if ipaddress.ip_address(plain[0]).is_global and not config.discovery_allow:
        said = (
            f"--vllm-discovery-address is {join_address(*plain)}, a public address, where registrations can come "
            "from anybody; name the workers' networks with --discovery-allow, such as 203.0.113.0/24"
        )
        yield (DISCOVERY_ADDRESSES[0],), said, None


def _key_problems(config: StartConfig) -> Iterator[tuple[tuple[str, ...], str, str | None]]:
    bind, keys = config.discovery_curve_address, config.discovery_keys
    if bind is not None and not keys:
        said = (
            "--discovery-curve-address lets workers register by their keys only; give a folder with --discovery-keys, "
            "and make it with: routerctl keys new --workers --dir FOLDER"
        )
        yield ("discovery_curve_address",), said, None
    elif keys and bind is None:
        said = "--discovery-keys has no effect without --discovery-curve-address; give both or neither"
        yield ("discovery_keys",), said, None
    elif keys:
        # Only for those who use it: it loads ZeroMQ.
        from shared.plane_keys import SERVER, KeyFileError, read_pair, secret_file

        try:
            read_pair(secret_file(Path(keys), SERVER))
        except KeyFileError as error:
            hint = f"a new folder is made by: routerctl keys new --workers --dir {keys}"
            yield ("discovery_keys",), f"--discovery-keys: {error}; {hint}", None
