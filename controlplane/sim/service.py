"""The process: a listener for each worker, opened and closed as its faults say, until it is cancelled."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from .config import ConfigError, SimConfig, check
from .connection import Connection
from .pings import Pings
from .routes import BOOTSTRAP
from .worker import Worker

_BACKLOG = 2048


class Listener:
    """The listening socket of one worker.

    A second socket is bound to the same port and never listens: it keeps the port ours while the worker is
    dead, so that nobody else is found there and the worker can come back.
    """

    def __init__(self, host: str, port: int) -> None:
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._holder = self._bound(host, port)
        self.address: tuple[str, int] = self._holder.getsockname()[:2]
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None

    @property
    def open(self) -> bool:
        """Whether clients can connect."""
        return self._socket is not None

    def listen(self) -> socket.socket:
        """Let the kernel take connections from now on, and return the socket to serve."""
        self._socket = self._bound(*self.address)
        self._socket.listen(_BACKLOG)
        return self._socket

    def serve(self, server: asyncio.Server, served: socket.socket) -> None:
        """Keep the server of a socket; close it if the listener was closed meanwhile."""
        if served is self._socket:
            self._server = server
        else:
            server.close()

    def close(self) -> None:
        """Refuse connections from now on."""
        if self._server is not None:
            self._server.close()
            self._server = None
        elif self._socket is not None:
            self._socket.close()
        self._socket = None

    def release(self) -> None:
        """Give the port back."""
        self.close()
        self._holder.close()

    def _bound(self, host: str, port: int) -> socket.socket:
        bound = socket.socket(self._family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, port))
        except OSError:
            bound.close()
            raise
        bound.setblocking(False)
        return bound


class Service:
    """All workers of the process."""

    def __init__(self, config: SimConfig) -> None:
        self.loop = asyncio.get_running_loop()
        self._group: asyncio.TaskGroup | None = None
        self._listeners: list[Listener] = []
        self._bootstraps: list[Listener] = []
        self._pings = Pings(config.register, config.ping_seconds) if config.register is not None else None
        self.workers: list[Worker] = []
        self.stored: dict[bytes, None] = {}
        """Prompts whose KV cache all workers can reach (`kv_transfer.shared_store`)."""
        try:
            for index in range(config.count):
                port = config.port + index if config.port else 0
                self._listeners.append(_listener(config.host, port, "--port"))
                worker = Worker(index, config, self)
                worker.url = _url(*self._listeners[-1].address)
                self.workers.append(worker)
                if config.kv_connector == "mooncake":
                    port = config.bootstrap_port + index if config.bootstrap_port else 0
                    self._bootstraps.append(_listener(config.host, port, "--bootstrap-port"))
                    worker.bootstrap_port = self._bootstraps[-1].address[1]
        except ConfigError:
            self.close()
            raise
        for only, fault in config.faults:
            for worker in self.workers if only is None else [self.workers[only]]:
                worker.faults.add(fault)

    def start(self, group: asyncio.TaskGroup) -> None:
        """Listen, with the tasks that this needs now and later in a group."""
        self._group = group
        for worker in self.workers:
            self.apply(worker)
            for rank in worker.ranks:
                if rank.kv_publisher is not None:
                    group.create_task(rank.kv_publisher.run())
            if self._pings is not None and worker.kv_transfer is not None:
                group.create_task(self._pings.run(worker, worker.kv_transfer.zmq_address))

    def apply(self, worker: Worker) -> None:
        """Open or close a worker's listener as its faults say; connections made now see the change."""
        self._open(self._listeners[worker.index], lambda: Connection(worker), wanted=not worker.faults.refuses)
        if self._bootstraps:
            self._open(
                self._bootstraps[worker.index], lambda: Connection(worker, BOOTSTRAP), wanted=not worker.faults.dead
            )

    def _open(self, listener: Listener, connection: Callable[[], Connection], *, wanted: bool) -> None:
        if wanted and not listener.open and self._group is not None:
            self._group.create_task(self._serve(connection, listener, listener.listen()))
        elif not wanted:
            listener.close()

    async def _serve(self, connection: Callable[[], Connection], listener: Listener, served: socket.socket) -> None:
        server = await self.loop.create_server(connection, sock=served, backlog=_BACKLOG)
        listener.serve(server, served)

    def close(self) -> None:
        """Close everything."""
        if self._pings is not None:
            self._pings.close()
        for listener in (*self._listeners, *self._bootstraps):
            listener.release()
        for worker in self.workers:
            worker.stop()


def _listener(host: str, port: int, flag: str) -> Listener:
    try:
        return Listener(host, port)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; use another --host or {flag}"
        ) from error


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(config: SimConfig, *, ready: Callable[[list[str]], None] | None = None) -> None:
    """Run the workers until cancelled; `ready` gets their base URLs, in order, once all can be reached."""
    check(config)
    service = Service(config)
    async with asyncio.TaskGroup() as group:
        try:
            service.start(group)
            if ready is not None:
                ready([worker.url for worker in service.workers])
            await asyncio.Event().wait()
        finally:
            service.close()
