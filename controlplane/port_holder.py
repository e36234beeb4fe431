"""Who keeps a port from us, as far as the kernel tells: a server, a connection, or one that has ended.

A port in the range of outgoing connections may be the near end of one, of any process; when that ends the kernel keeps
the port for up to a minute (TIME-WAIT), and no process has it. `/proc/net/tcp` has them all but sockets that were bound
and neither listen nor are connected (proc(5)). Whose a socket is can be seen of one's own user's processes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple

from shared.config import join_address

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTEN, _TIME_WAIT = "0A", "06"
_TICKS = 100
"""A second's, as the kernel tells times to users (USER_HZ)."""
_LONGEST_NAME = 60
"""Characters."""
_Address = IPv4Address | IPv6Address


class Held(NamedTuple):
    """A socket at a port: its address, the other side's, and for how many seconds the kernel keeps it (TIME-WAIT)."""

    state: str
    address: _Address
    peer: str
    inode: int
    left: float


def cause(error: OSError, host: str, port: int) -> str:
    """Return why a server can not listen there, and what to do: of a port that is taken, by who has it."""
    if error.errno == errno.EADDRINUSE:
        return why_taken(host, port)
    return f"{error.strerror or error}; check the address"


def why_taken(host: str, port: int) -> str:
    """Return what keeps a server from an address of this machine, and what to do about it."""
    wanted = ip_address("127.0.0.1" if host == "localhost" else host)
    held = [one for one in _sockets(port) if _overlap(one.address, wanted)]
    return told(held, {one.inode: owner for one in held if one.inode and (owner := _owner(one.inode))})


def told(held: list[Held], owners: dict[int, str]) -> str:
    """Return who has a port and what to do, by the sockets there; `owners` names the known processes, by inode."""
    for one in held:
        if one.state == _LISTEN:
            return f"{owners.get(one.inode, 'another process')} listens on that port; stop it"
    for one in held:
        if one.state != _TIME_WAIT:
            owner = f" of {owners[one.inode]}" if one.inode in owners else ""
            return f"that port is this side's end of a connection{owner} to {one.peer}; wait for its end"
    if held:
        left = max(one.left for one in held)
        return (
            "no process has that port, but the kernel keeps it after a connection that has ended "
            f"(TIME-WAIT), for {max(1, round(left))} s more; wait for that"
        )
    return "that port is taken, and it can not be seen by whom; free it"


def parsed(table: str, port: int) -> Iterator[Held]:
    """Yield the sockets at a port of this machine; `table` is as /proc/net/tcp is."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or int(fields[1].rpartition(":")[2], 16) != port:
            continue
        peer, peer_port = _address(fields[2])
        ticks = int(fields[5].partition(":")[2], 16)
        address, _ = _address(fields[1])
        yield Held(fields[3], address, join_address(str(peer), peer_port), int(fields[9]), ticks / _TICKS)


def _address(text: str) -> tuple[_Address, int]:
    """Read an address, in which each four bytes stand as this machine has them, and a port."""
    digits, _, port = text.partition(":")
    words = [bytes.fromhex(digits[at : at + 8]) for at in range(0, len(digits), 8)]
    address = ip_address(b"".join(word[::-1] for word in words))
    # A socket of IPv6 for IPv4, too.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address, int(port, 16)


def _overlap(one: _Address, other: _Address) -> bool:
    return one == other or one.is_unspecified or other.is_unspecified


def _sockets(port: int) -> Iterator[Held]:
    for path in _TABLES:
        try:
            yield from parsed(Path(path).read_text(encoding="ascii"), port)
        except OSError:
            # Without IPv6, or in a sandbox: it is not seen by whom then.
            continue


def _owner(inode: int) -> str:
    """Return which process has a socket; empty where that can not be seen."""
    link = f"socket:[{inode}]"
    for process in Path("/proc").iterdir():
        # Another user's can not be looked into, and what has just ended is gone.
        with suppress(OSError):
            if process.name.isdigit() and any(_target(file) == link for file in (process / "fd").iterdir()):
                return f"process {process.name} ({called((process / 'cmdline').read_bytes()) or _short_name(process)})"
    return ""


def called(cmdline: bytes) -> str:
    """Return what a process calls itself, or its program; `cmdline` is as /proc/PID/cmdline is.

    Its arguments are left out: another program may have been given a secret there.
    """
    name, *_ = cmdline.partition(b"\0")[0].decode("utf-8", "replace").partition(" -")
    if name.startswith("/"):
        name = name.rpartition("/")[2]
    return "".join(one if one.isprintable() else "?" for one in name.strip()[:_LONGEST_NAME])


def _short_name(process: Path) -> str:
    return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()


def _target(file: Path) -> str:
    try:
        return os.readlink(file)
    except OSError:
        return ""
