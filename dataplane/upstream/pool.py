"""The connections to one worker: the last one used is used next, and none is kept for long.

vLLM's server closes connections that are idle for 5 s. A request sent in that moment would be lost on the
wire, so a connection that was idle for 3 s is not used again. LIFO keeps the working set small and warm.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial

from dataplane.descriptors import OUT_OF_DESCRIPTORS, Allowance
from dataplane.upstream.connection import UpstreamConnection
from dataplane.upstream.resolver import Resolver, is_address, system_lookup
from shared.tls import WorkerTls

IDLE_LIMIT = 3.0
"""Seconds: under the 5 s at which vLLM's server closes."""


class PooledConnection(UpstreamConnection):
    """A connection that counts as open until its transport is gone."""

    __slots__ = ("_allowance",)

    def __init__(
        self, release: Callable[[UpstreamConnection], None], allowance: Allowance[UpstreamConnection], *, tls: bool
    ) -> None:
        """Make an unconnected one, counted already. Raises OSError when there may be none more."""
        super().__init__(release, tls=tls)
        self._allowance = allowance
        allowance.take(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the descriptor back."""
        self._allowance.give_back(self)
        super().connection_lost(exc)


class Pool:
    """Idle connections are in `_idle`, oldest first; busy ones belong to their exchange and are not known here."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: WorkerTls | None,
        loop: asyncio.AbstractEventLoop,
        opened: Callable[[], None],
        allowance: Allowance[UpstreamConnection],
    ) -> None:
        """Connect to host:port, with TLS (and never without) when `tls` is given; `opened` counts new connections.

        `allowance` is what all pools of a plane share.
        """
        self._host = host
        self._port = port
        self._tls = tls
        self._loop = loop
        self._opened = opened
        self._allowance = allowance
        self._resolver = None if is_address(host) else Resolver(loop, system_lookup(loop, host))
        self._idle: list[UpstreamConnection] = []
        self._closed = False

    @property
    def idle(self) -> int:
        """How many connections wait for a request."""
        return len(self._idle)

    def take(self) -> UpstreamConnection | None:
        """Return a live idle connection, or None: then `connect`."""
        idle = self._idle
        oldest = self._loop.time() - IDLE_LIMIT
        while idle:
            connection = idle.pop()
            if not connection.closed and connection.idle_since > oldest:
                return connection
            if not connection.closed:
                connection.abort()
        return None

    async def connect(self, timeout: float) -> UpstreamConnection:
        """Open a connection. Raises OSError (TimeoutError after `timeout` seconds, ssl.SSLError) when it can not."""
        async with asyncio.timeout(timeout):
            *others, last = (self._host,) if self._resolver is None else await self._resolver.addresses()
            for address in others:
                try:
                    return await self._connect(address, timeout)
                except OSError as error:
                    if error.errno in OUT_OF_DESCRIPTORS:
                        raise
            return await self._connect(last, timeout)

    async def _connect(self, address: str, timeout: float) -> UpstreamConnection:
        tls = self._tls
        context = tls.context() if tls is not None else None
        release = self._release if tls is None else partial(self._release, context=context)
        connection = PooledConnection(release, self._allowance, tls=tls is not None)
        try:
            await self._loop.create_connection(
                lambda: connection,
                address,
                self._port,
                ssl=context,
                server_hostname=(tls.server_name or self._host) if tls is not None else None,
                # The limit above is the one that counts.
                ssl_handshake_timeout=timeout + 1 if tls is not None else None,
            )
        except BaseException:
            self._allowance.give_back(connection)
            raise
        self._opened()
        return connection

    def _release(self, connection: UpstreamConnection, context: ssl.SSLContext | None = None) -> None:
        # One that was made with files since replaced must not live on for as long as it is busy.
        if self._closed or (self._tls is not None and not self._tls.is_current(context)):
            connection.abort()
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)

    def close_oldest(self) -> bool:
        """Close the connection that is idle for longest, for its descriptor; False when none is idle."""
        while self._idle:
            connection = self._idle.pop(0)
            if not connection.closed:
                connection.abort()
                return True
        return False

    def reap(self) -> None:
        """Close what was idle for too long. Called about once a second."""
        oldest = self._loop.time() - IDLE_LIMIT
        idle = self._idle
        stale = 0
        for connection in idle:
            if connection.idle_since > oldest:
                break
            stale += 1
        for connection in idle[:stale]:
            if not connection.closed:
                connection.abort()
        # Also forgets those that the worker closed, wherever they stand.
        self._idle = [connection for connection in idle[stale:] if not connection.closed]

    def close(self) -> None:
        """Close all idle connections, and those in use when they come back."""
        self._closed = True
        for connection in self._idle:
            connection.abort()
        self._idle.clear()
        if self._resolver is not None:
            self._resolver.close()
