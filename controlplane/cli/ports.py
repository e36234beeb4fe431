"""Finding ports for the demo's processes."""

from __future__ import annotations

import socket


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str, preferred: int, taken: set[int]) -> int:
    """Return the preferred port when it is free, else one above it, and add it to `taken`."""
    return free_ports(host, preferred, 1, taken)


def free_ports(host: str, first: int, count: int, taken: set[int]) -> int:
    """Return the first of `count` consecutive free ports from `first` on and add all of them to `taken`.

    Raises OSError when there are none.
    """
    for start in range(first, 65536 - count, count):
        block = range(start, start + count)
        if not taken.intersection(block) and all(is_free(host, port) for port in block):
            taken.update(block)
            return start
    raise OSError(f"no {count} free ports from {first} on")
