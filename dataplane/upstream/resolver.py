"""The addresses of one worker's host name, for as long as the name servers are well and for longer.

A lookup occupies a thread for as long as the name servers let it wait, and there are few such threads, so at
most one lookup per worker is under way. Addresses that are known are used at once; once they are older than
`FRESH` a lookup follows beside. When no name server answers, the last known addresses stay in use: a worker is
not gone because nobody can say where it is. When the answer is that the name does not exist, they are dropped.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

FRESH = 5.0
"""Seconds for which addresses are used without asking again: a worker that moved is found within this."""
FAILED = 1.0
"""Seconds for which a failure is the answer to everybody: an outage must not become a lookup per request."""

Lookup = Callable[[], Awaitable[list[str]]]


def is_address(host: str) -> bool:
    """Whether `host` is an IP address, so that there is nothing to look up."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def system_lookup(loop: asyncio.AbstractEventLoop, host: str) -> Lookup:
    """Return a lookup of `host` as this machine does it."""

    async def lookup() -> list[str]:
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    return lookup


class Resolver:
    """Knows one name. `lookup` raises OSError (socket.gaierror, as a rule) when there is no answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lookup: Lookup) -> None:
        self._loop = loop
        self._lookup = lookup
        self._addresses: list[str] = []
        self._known_at = 0.0
        self._failure: OSError | None = None
        self._failed_at = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def addresses(self) -> list[str]:
        """Return the addresses, best first. Raises OSError when none is known."""
        now = self._loop.time()
        answered = self._addresses and now - self._known_at < FRESH
        refused = self._failure is not None and now - self._failed_at < FAILED
        if not answered and not refused:
            asking = self._ask()
            if not self._addresses:
                # Whoever gives up waiting must not end the lookup for the others.
                await asyncio.shield(asking)
        if self._addresses:
            return self._addresses
        raise self._failure or socket.gaierror(socket.EAI_NONAME, "the name has no address")

    def _ask(self) -> asyncio.Task[None]:
        if self._asking is None:
            self._asking = self._loop.create_task(self._look_up())
        return self._asking

    async def _look_up(self) -> None:
        try:
            self._addresses = await self._lookup()
            self._known_at = self._loop.time()
            self._failure = None
        except OSError as error:
            self._failure = error
            self._failed_at = self._loop.time()
            if isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
                self._addresses = []
        finally:
            self._asking = None

    def close(self) -> None:
        """End a lookup that is under way."""
        if self._asking is not None:
            self._asking.cancel()
