"""TCP ports that are open for those with a key in a folder.

Who has no key, a key that is not in the folder, or does not even speak ZeroMQ gets nothing, is counted, and costs
a line in the log now and then. An open connection is never asked for its key again; so when a key was removed, or our
own replaced, the sockets are made anew. Those that may stay are back at once, and lose nothing by it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import zmq
from zmq.utils.monitor import parse_monitor_message

from controlplane.doorkeeper import Doorkeeper
from controlplane.plane_keys_folder import Guests
from controlplane.remote_tally import EVENTS, Tally
from shared.clock import Clock
from shared.plane_keys import KeyPair
from shared.sockets import HANDSHAKE_TIMEOUT, Context, Socket, watched

MAX_CONNECTIONS = 3072
"""Open ones: two of each of 1,024 planes, and some that are still to prove who they are."""
_REST = 2.0
"""Seconds that the ports stay closed once there were more: descriptors are for the workers."""
_BIND_PAUSE = 0.02
"""Seconds: the socket before this one takes a moment to let go of its port."""
_BIND_COMPLAINT = 50
"""Attempts, and pauses as long, after which that is no explanation any more."""
_TALLY_INTERVAL = HANDSHAKE_TIMEOUT + 1.0
BATCH = 64
"""Messages taken in a row before others get their turn."""

log = logging.getLogger(__name__)

Make = Callable[[KeyPair], Socket]
"""Makes a bound socket that lets in by keys, with our own pair; raises zmq.ZMQError."""
Serve = Callable[[Sequence[Socket]], Coroutine[None, None, None]]


class KeyedPorts:
    """Owns the sockets. They are there while `run` runs and there are keys to use."""

    def __init__(
        self, context: Context, name: object, keys: Path, guests: Guests, clock: Clock, descriptors: int
    ) -> None:
        """`name` is the address, for the log; `keys` the folder. At most half of the `descriptors` are used.

        One context can have one of these: libzmq asks one place in each for keys.
        """
        self.tally = Tally()
        self._context = context
        self._name = name
        self._guests = guests
        self._most = min(MAX_CONNECTIONS, descriptors // 2)
        self._reopen = asyncio.Event()
        self._doorkeeper = Doorkeeper(context, keys, guests, self.tally, clock, self._reopen.set)

    async def run(self, makers: Sequence[Make], serve: Serve) -> None:
        """Keep the ports open until cancelled. `serve` gets one socket of each maker, and is cancelled with them."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._doorkeeper.run())
            group.create_task(self._stay_open(makers, serve))
            group.create_task(self._tell_refused())

    async def _stay_open(self, makers: Sequence[Make], serve: Serve) -> None:
        while True:
            own = (await self._doorkeeper.admission()).own
            self._reopen.clear()
            with ExitStack() as stack:
                sockets = [stack.enter_context(await self._bound(make, own)) for make in makers]
                await self._serve(sockets, serve)
            if self.tally.open > self._most:
                log.error("over %d connections to %s: closed for %g s", self._most, self._name, _REST)
                await asyncio.sleep(_REST)
            self.tally.closed()

    async def _serve(self, sockets: Sequence[Socket], serve: Serve) -> None:
        """Serve until the sockets have to be made anew."""
        with ExitStack() as stack:
            watchers = [stack.enter_context(self._events(socket)) for socket in sockets]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._count(watcher)) for watcher in watchers]
                tasks.append(group.create_task(serve(sockets)))
                await self._reopen.wait()
                for task in tasks:
                    task.cancel()

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
            for _ in range(BATCH):
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
                    self._name,
                )

    async def _bound(self, make: Make, own: KeyPair) -> Socket:
        """Make a socket, however long its port is taken."""
        attempts = 0
        while True:
            try:
                return make(own)
            except zmq.ZMQError as error:
                if attempts % _BIND_COMPLAINT == _BIND_COMPLAINT - 1 or error.errno != errno.EADDRINUSE:
                    many = self._guests.many
                    log.error("can not listen on %s for %s: %s; trying again", self._name, many, error)
                    await asyncio.sleep(1.0)
            attempts += 1
            await asyncio.sleep(_BIND_PAUSE)
