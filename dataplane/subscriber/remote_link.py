"""How a plane on another host reaches the control plane: over TCP, with keys from files that may be replaced."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from random import Random

from zmq.utils.monitor import parse_monitor_message

from dataplane.subscriber.link import Sockets
from shared.client_key_files import ClientKeyFiles
from shared.clock import Clock
from shared.plane_keys import fingerprint
from shared.silence import EVENTS, Causes, Complaints, cause_of
from shared.sockets import ClientKeys, Context, Socket, control_client, subscriber, watched
from shared.uplink import Uplink

PATIENCE = 3.0
"""Seconds without a word after which another of the control plane's keys is tried, on new connections."""
LONGEST_PAUSE = 5.0
"""Seconds: the widest window from which the wait before another attempt is drawn."""
_SHORTEST_PAUSE = 0.25
_LOOK = 0.5
"""Seconds between looks at the key files and at whether anything was heard."""
_CAUSES = Causes(
    key_refused="our key is not let in: put its public part into planes/ of --control-keys there",
    other_key="who answers there has not the key of --server-key, or is no control plane",
    mute_after_key="it lets us in and says nothing",
    mute="it takes connections and says nothing",
    no_connection=(
        "no connection comes about: does it run, with that --control-bind, and are its two ports open for us?"
    ),
)

log = logging.getLogger(__name__)


class RemoteLink:
    """Sockets over TCP. Key files are read again when they change; each silence turns to the next server key.

    libzmq connects again by itself, but never where our key was refused, and for ever where the server's is another
    one. So what stays silent is given up after a while, and the next attempt waits, longer each time and by chance,
    so that a fleet does not come back as one.
    """

    def __init__(self, uplink: Uplink, clock: Clock, rng: Random) -> None:
        self._uplink = uplink
        self._clock = clock
        self._rng = rng
        self._files = ClientKeyFiles(Path(uplink.keys), Path(uplink.server_keys))
        self._failures = 0
        self._control: Socket | None = None
        self._watcher: Socket | None = None
        self._events: set[int] = set()
        self._complaints = Complaints()

    @property
    def keys(self) -> ClientKeys | None:
        """The keys whose turn it is; None until any could be read."""
        return self._files.keys

    async def open(self, context: Context, identity: bytes) -> Sockets:
        """Return sockets with the keys whose turn it is; waits after failures, and until there are keys."""
        if self._failures:
            window = min(LONGEST_PAUSE, _SHORTEST_PAUSE * 2 ** min(self._failures, 10))
            await asyncio.sleep(self._rng.uniform(0.0, window))
        self._files.read()
        while (keys := self.keys) is None:
            await asyncio.sleep(_LOOK)
            self._files.read()
        address = self._uplink.address
        log.debug("connecting to %s, whose key should be %s", address, fingerprint(keys.server))
        self._unwatch()
        updates = subscriber(context, address.publish_endpoint, keys, self._rng)
        self._control = control_client(context, address.control_endpoint, identity, keys, self._rng)
        self._watcher = watched(context, self._control, EVENTS)
        self._events.clear()
        return Sockets(updates, self._control)

    async def over(self, heard: Callable[[], float | None]) -> None:
        """Return when keys were replaced, or nothing was heard for too long."""
        try:
            await self._until_over(heard)
        finally:
            self._unwatch()

    async def _until_over(self, heard: Callable[[], float | None]) -> None:
        newest = self._clock.monotonic()
        while True:
            await asyncio.sleep(_LOOK)
            if self._files.read():
                log.info("the keys for %s have changed: connecting anew", self._uplink.address)
                return
            last = heard()
            if last is not None and last > newest:
                self._failures, newest = 0, last
                self._events.clear()
            await self._take_events()
            if self._clock.monotonic() - newest >= PATIENCE:
                self._complain()
                self._files.turn()
                self._failures += 1
                return

    async def _take_events(self) -> None:
        while self._watcher is not None and await self._watcher.poll(0):
            self._events.add(parse_monitor_message(await self._watcher.recv_multipart())["event"])

    def _unwatch(self) -> None:
        if self._control is not None and not self._control.closed:
            self._control.disable_monitor()
        if self._watcher is not None:
            self._watcher.close()
        self._control = self._watcher = None

    def _complain(self) -> None:
        cause = cause_of(self._events, _CAUSES)
        if (keys := self.keys) is not None and self._complaints.is_due(cause, self._clock.monotonic()):
            # By it our key can be found in the control plane's log.
            own = fingerprint(keys.pair.public)
            log.warning("the control plane at %s is not heard: %s (our key is %s)", self._uplink.address, cause, own)
