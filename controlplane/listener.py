"""One HTTP port of the control plane, served by granian in the control plane's own event loop."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server
from starlette.types import ASGIApp

from controlplane.certificates import replaced
from controlplane.port_holder import cause
from shared.config import ConfigError, join_address
from shared.server_tls import ServerTls, check, identity, tls_options
from shared.tls import TlsFileError

# A handful of people, scrapers and scripts; idle keep-alive connections count.
_BACKLOG = 128
_MAX_CONNECTIONS = 512
_PATIENCE = 1.0
"""Seconds that the port may still be held at start by a predecessor that is just ending."""
_RETRY_PAUSE = 0.1
_LONG_RETRY_PAUSE = 2.0
_LOOK_PAUSE = 0.005
_END_WITHIN = 1.0
_OVERLAP = 0.5
"""Seconds within which a new server listens beside the one before it."""

log = logging.getLogger(__name__)


class Listener:
    """Serves an application on a port until cancelled."""

    def __init__(
        self,
        application: ASGIApp,
        *,
        flag: str,
        host: str,
        port: int,
        required: bool,
        tls: ServerTls | None = None,
    ) -> None:
        """`flag` names the port to the operator.

        A port that is taken, or TLS files that can not be used, end a `required` listener with ConfigError. Any other
        one goes on trying: planes that serve clients need their control plane more than anybody needs this port.
        """
        self._application = application
        self._flag = flag
        self._host = host
        self._port = port
        self._required = required
        self._tls = tls
        self.settled = asyncio.Event()
        """Set once the port answers, or is found not to be able to."""

    async def run(self) -> None:
        """Serve until cancelled. Raises ConfigError, see above."""
        address = join_address(self._host, self._port)
        waited, told = 0.0, ""
        while True:
            error = await self._obstacle()
            if error is None:
                told = ""
                log.info("%s: listening on %s", self._flag, address)
                try:
                    await self._serve()
                    why = "by itself"
                except OSError as failure:
                    # The files were replaced once more between the look at them and the server's own.
                    why = f"({failure})"
                log.error("%s: the server on %s ended %s; starting it again", self._flag, address, why)
            elif waited >= _PATIENCE and str(error) != told:
                told = str(error)
                why, instead = await self._explained(error)
                if self._required:
                    raise ConfigError(f"can not listen on {address}: {why}{instead}")
                log.error("can not listen on %s (%s): %s; still trying", address, self._flag, why)
                self.settled.set()
            pause = _RETRY_PAUSE if waited < _PATIENCE + _RETRY_PAUSE else _LONG_RETRY_PAUSE
            waited += pause
            await asyncio.sleep(pause)

    async def _obstacle(self) -> OSError | None:
        """Return why it can not serve now, if it can not."""
        if self._tls is not None:
            try:
                await asyncio.to_thread(check, self._tls)
            except TlsFileError as error:
                return error
        return self._try_port()

    async def _explained(self, error: OSError) -> tuple[str, str]:
        """Return what is wrong, and what else could be done at a start."""
        if isinstance(error, TlsFileError):
            return str(error), ""
        why = await asyncio.to_thread(cause, error, self._host, self._port)
        return why, f", or choose another port with {self._flag}"

    def _try_port(self) -> OSError | None:
        # Granian shares its port (SO_REUSEPORT), also with a stranger; a plain bind finds that stranger.
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self._host, self._port))
            except OSError as error:
                return error
        return None

    async def _serve(self) -> None:
        """Serve; with TLS by a new server whenever the files were replaced, begun before the one before it ends."""
        serving = asyncio.ensure_future(self._serve_by_one())
        try:
            while self._tls is not None:
                others = asyncio.ensure_future(replaced(self._tls, identity(self._tls)))
                await asyncio.wait((serving, others), return_when=asyncio.FIRST_COMPLETED)
                others.cancel()
                if serving.done():
                    break
                log.info("%s: the certificate was replaced and is in use", self._flag)
                following = asyncio.ensure_future(self._serve_by_one())
                await asyncio.sleep(_OVERLAP)
                await _ended(serving)
                serving = following
            await serving
        finally:
            await _ended(serving)

    async def _serve_by_one(self) -> None:
        server = Server(
            self._application,
            address=self._host,
            port=self._port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            websockets=False,
            backlog=_BACKLOG,
            backpressure=_MAX_CONNECTIONS,
            log_enabled=False,
            **tls_options(self._tls),
        )
        settling = asyncio.ensure_future(self._settle())
        try:
            await server.serve()
        finally:
            settling.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_WITHIN):
                    await server.shutdown()  # type: ignore[no-untyped-call]

    async def _settle(self) -> None:
        # Granian binds in a thread of its own, and tells nobody when it has.
        while True:
            try:
                _, writer = await asyncio.open_connection(self._host, self._port)
            except OSError:
                await asyncio.sleep(_LOOK_PAUSE)
            else:
                writer.close()
                self.settled.set()
                return


async def _ended(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))
