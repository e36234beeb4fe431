"""The end of a plane: its clients go elsewhere, what they have asked for is finished, and nobody is reset.

HTTP/1.1 lets either side close an idle connection at any time, and a request that is on its way then is lost. So a
plane that is replaced closes none in haste: each answer tells that it is its connection's last, and only a connection
that has been silent for `SILENCE` is closed without that.
"""

from __future__ import annotations

import asyncio
import logging

from dataplane.arrivals import Arrivals
from dataplane.client_connections import ClientConnections
from dataplane.forward import Forwarder
from dataplane.listening import HUSH, Listener
from dataplane.server import HttpServer

logger = logging.getLogger(__name__)

SILENCE = 6.0
"""Seconds: httpx, which OpenAI's client is made of, uses no connection again that was idle for 5 s."""
_LOOK_PAUSE = 0.1
_LAST_WORDS = 1.0


class Draining:
    """Ends one server."""

    def __init__(
        self,
        server: HttpServer,
        listener: Listener,
        forwarder: Forwarder,
        arrivals: Arrivals,
        clients: ClientConnections,
    ) -> None:
        self._server = server
        self._listener = listener
        self._forwarder = forwarder
        self._arrivals = arrivals
        self._clients = clients
        self._time = asyncio.get_running_loop().time

    async def run(self, serving: asyncio.Task[None], *, replaced: bool, delay: float, grace: float) -> None:
        """Drain; afterwards `serving` is done, or hangs.

        `replaced` when the router goes on without this plane: then load balancers are told nothing, and need no `delay`
        to hear of it. After `grace` seconds open requests are ended.
        """
        self._forwarder.drain(ready=replaced)
        if delay and not replaced:
            logger.info("not ready any more; serving for another %g s", delay)
            await asyncio.sleep(delay)
        deadline = self._time() + grace
        logger.info("draining: %d open requests", self._forwarder.accounting.active)
        if not (replaced and self._listener.is_shared):
            self._listener.hush()
            await asyncio.sleep(HUSH)
        self._listener.withdraw()
        if replaced:
            await self._until_silent(deadline)
        self._server.stop()
        done, _ = await asyncio.wait((serving,), timeout=max(0.0, deadline - self._time()))
        if not done:
            logger.warning("grace time is over: ending %d open requests", self._forwarder.accounting.active)
            self._arrivals.take_late(all_of_them=True)
            self._forwarder.interrupt_all()
            await asyncio.wait((serving,), timeout=_LAST_WORDS)

    async def _until_silent(self, deadline: float) -> None:
        """Wait until no client is left that may send a request on a connection that it holds for open."""
        since = self._time()
        while self._time() < min(deadline, since + SILENCE):
            await self._clients.look()
            if not self._clients.open:
                return
            if self._forwarder.unannounced:
                since = self._time()
            await asyncio.sleep(_LOOK_PAUSE)
