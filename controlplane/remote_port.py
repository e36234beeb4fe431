"""The ports for planes on other hosts: the same talk as in the runtime folder, over TCP and with keys only.

Who has no key, a key that is not in the folder, or does not even speak ZeroMQ gets nothing, is counted, and costs
a line in the log now and then. An open connection is never asked for its key again; so when a key was removed, or our
own replaced, both sockets are made anew. Those that may stay are back at once, and lose nothing by it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import zmq
from zmq.utils.monitor import parse_monitor_message

from controlplane.doorkeeper import Doorkeeper
from controlplane.remote_tally import EVENTS, Tally
from shared.clock import Clock
from shared.config import StartConfig
from shared.plane_keys import KeyPair
from shared.process import raise_descriptor_limit
from shared.remote_address import RemoteAddress, parse_remote_address
from shared.sockets import HANDSHAKE_TIMEOUT, Context, Socket, control_server, publisher, send_or_drop, watched

MAX_CONNECTIONS = 3072
"""Open ones: two of each of 1,024 planes, and some that are still to prove who they are."""
_REST = 2.0
"""Seconds that the ports stay closed once there were more: descriptors are for the workers."""
_BIND_PAUSE = 0.02
"""Seconds: the socket before this one takes a moment to let go of its port."""
_BIND_COMPLAINT = 50
"""Attempts, and pauses as long, after which that is no explanation any more."""
_TALLY_INTERVAL = HANDSHAKE_TIMEOUT + 1.0
_BATCH = 64
"""Messages taken in a row before others get their turn."""

log = logging.getLogger(__name__)

Reply = Callable[[list[bytes]], None]
Take = Callable[[list[bytes], Reply], None]


class RemotePort:
    """Owns the sockets to planes on other hosts. They are there while `run` runs and there are keys to use."""

    def __init__(self, context: Context, address: RemoteAddress, keys: Path, clock: Clock, descriptors: int) -> None:
        """`keys` is the folder; at most half of the `descriptors` are used."""
        self.tally = Tally()
        self._context = context
        self._address = address
        self._most = min(MAX_CONNECTIONS, descriptors // 2)
        self._reopen = asyncio.Event()
        self._doorkeeper = Doorkeeper(context, keys, self.tally, clock, self._reopen.set)
        self._publish_socket: Socket | None = None
        self._control_socket: Socket | None = None

    def publish(self, frames: list[bytes]) -> None:
        """Send to all planes; dropped while the ports are closed."""
        if self._publish_socket is not None:
            send_or_drop(self._publish_socket, frames)

    def reply(self, frames: list[bytes]) -> None:
        """Send to the plane whose id is the first frame; dropped when it is not connected here any more."""
        if self._control_socket is not None:
            send_or_drop(self._control_socket, frames)

    async def run(self, take: Take) -> None:
        """Keep the ports open until cancelled. `take` gets each message of a plane, and how to answer it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._doorkeeper.run())
            group.create_task(self._stay_open(take))
            group.create_task(self._tell_refused())

    async def _stay_open(self, take: Take) -> None:
        while True:
            own = (await self._doorkeeper.admission()).own
            self._reopen.clear()
            with (
                await _bound(publisher, self._context, self._address.publish_endpoint, own) as publish,
                await _bound(control_server, self._context, self._address.control_endpoint, own) as control,
            ):
                self._publish_socket, self._control_socket = publish, control
                try:
                    await self._serve(publish, control, take)
                finally:
                    self._publish_socket = self._control_socket = None
            if self.tally.open > self._most:
                log.error("over %d connections to %s: closed for %g s", self._most, self._address, _REST)
                await asyncio.sleep(_REST)
            self.tally.closed()

    async def _serve(self, publish: Socket, control: Socket, take: Take) -> None:
        """Serve until the sockets have to be made anew."""
        with self._events(publish) as of_publish, self._events(control) as of_control:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._count(of_publish)),
                    group.create_task(self._count(of_control)),
                    group.create_task(_drain(publish)),
                    group.create_task(self._take_reports(control, take)),
                ]
                await self._reopen.wait()
                for task in tasks:
                    task.cancel()

    async def _take_reports(self, control: Socket, take: Take) -> None:
        while True:
            for _ in range(_BATCH):
                take(await control.recv_multipart(), self.reply)
            await asyncio.sleep(0)

    # --- counting --------------------------------------------------------------------------------------------

    @contextmanager
    def _events(self, socket: Socket) -> Iterator[Socket]:
        with watched(self._context, socket, EVENTS) as watcher:
            try:
                yield watcher
            finally:
                socket.disable_monitor()

    async def _count(self, watcher: Socket) -> None:
        while True:
            for _ in range(_BATCH):
                self.tally.take(parse_monitor_message(await watcher.recv_multipart())["event"])
            if self.tally.open > self._most:
                self._reopen.set()
            await asyncio.sleep(0)

    async def _tell_refused(self) -> None:
        while True:
            await asyncio.sleep(_TALLY_INTERVAL)
            if refused := self.tally.tick():
                log.warning(
                    "refused %d connections to %s that proved no key (no CURVE, another server key, or no ZeroMQ)",
                    refused,
                    self._address,
                )


def remote_port(config: StartConfig, context: Context, clock: Clock) -> RemotePort | None:
    """Return the ports that the configuration asks for; None when it asks for none."""
    if config.control_bind is None or config.control_keys is None:
        return None
    address = parse_remote_address("--control-bind", config.control_bind)
    # Strangers who open connections must not take the descriptors that checks of workers need.
    return RemotePort(context, address, Path(config.control_keys), clock, raise_descriptor_limit())


async def _drain(publish: Socket) -> None:
    # XPUB answers new subscribers by itself; their requests only have to be taken out of the queue.
    while True:
        for _ in range(_BATCH):
            await publish.recv()
        await asyncio.sleep(0)


async def _bound(
    make: Callable[[Context, str, KeyPair], Socket], context: Context, endpoint: str, own: KeyPair
) -> Socket:
    """Make a socket, however long its port is taken."""
    attempts = 0
    while True:
        try:
            return make(context, endpoint, own)
        except zmq.ZMQError as error:
            if attempts % _BIND_COMPLAINT == _BIND_COMPLAINT - 1 or error.errno != errno.EADDRINUSE:
                log.error("can not listen on %s for planes on other hosts: %s; trying again", endpoint, error)
                await asyncio.sleep(1.0)
        attempts += 1
        await asyncio.sleep(_BIND_PAUSE)
