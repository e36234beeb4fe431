"""The connections of the discovery port, and whose turn it is.

Everything is bounded, because whoever reaches the port may send what it likes: connections, those of one address, bytes
in hand, and how many messages are read before the control plane does something else. Connections with something to
read stand in a line; each gets a few messages read and goes to its end, so that a flood on some delays nobody else for
long. One that is not read fills its own sender's queue, not our memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import cast

from controlplane.discovery.networks import Networks
from controlplane.discovery.refusals import RefusedError
from controlplane.discovery.zmtp import GREETING, ZmtpConnection
from shared.clock import Clock

MAX_CONNECTIONS = 2560
MAX_CONNECTIONS_OF_ONE = 256
"""From one address: a host has a few workers, a node that speaks for its pods some dozens."""
READ_SIZE = 4096
"""Bytes read at a time; vLLM's messages have 65 to 200."""
MAX_HELD = 2 * 1024 * 1024
"""Bytes that all connections may have in hand. Above it those go that have more than a ping."""
SMALL = 1024
"""Bytes: a greeting and a ping have about 300."""
TURN = 0.02
"""Seconds between the turns while there is more to read than a turn has room for."""
MESSAGES_A_TURN = 80
"""4,000 a second take a tenth of a core; 1,000 workers send 333."""
MESSAGES_OF_ONE = 4
FIRST_WORD_WITHIN = 10.0
"""Seconds from a connection's beginning to the first registration on it that counts."""
SILENCE = 60.0
"""Seconds after which a connection is closed that says nothing that counts. A DEALER connects again by itself."""

_Buffer = memoryview


class Connections:
    """All connections of the port."""

    def __init__(
        self,
        networks: Networks,
        clock: Clock,
        *,
        heard: Callable[[bytes, str], bytes | None],
        refused: Callable[[RefusedError, str], None],
    ) -> None:
        """`heard` takes a message and its sender's address and returns the answer, if any, or raises RefusedError.

        `refused` is told of everything that counts for nothing.
        """
        self.networks = networks
        self.clock = clock
        self.heard = heard
        self.refused = refused
        self.buffer = _Buffer(bytearray(READ_SIZE))
        self.held = 0
        self._open: dict[Connection, None] = {}
        self._of_one: Counter[str] = Counter()
        self._line: dict[Connection, None] = {}
        self._is_turning = False
        self._left = MESSAGES_A_TURN
        self._turned = 0.0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._open)

    def admit(self, connection: Connection) -> None:
        """Let one in. Raises RefusedError."""
        self.networks.check_sender(connection.peer)
        if len(self._open) >= MAX_CONNECTIONS:
            raise RefusedError("connections", f"{MAX_CONNECTIONS} connections are open already")
        if self._of_one[connection.peer] >= MAX_CONNECTIONS_OF_ONE:
            raise RefusedError("connections", f"{MAX_CONNECTIONS_OF_ONE} connections from there are open already")
        self._open[connection] = None
        self._of_one[connection.peer] += 1

    def forget(self, connection: Connection) -> None:
        """Take note of one that is closed."""
        if connection not in self._open:
            return
        del self._open[connection]
        self._line.pop(connection, None)
        self.held -= connection.held
        self._of_one[connection.peer] -= 1
        if not self._of_one[connection.peer]:
            del self._of_one[connection.peer]

    def comes(self, connection: Connection) -> None:
        """Have a connection read that has got something: at once while nobody waits, else when it is its turn."""
        now = asyncio.get_running_loop().time()
        if now - self._turned >= TURN:
            self._turned, self._left = now, MESSAGES_A_TURN
        if self._is_turning or self._left <= 0:
            self.line_up(connection)
        else:
            self._left -= connection.read(MESSAGES_OF_ONE)

    def line_up(self, connection: Connection) -> None:
        """Have a connection read when it is its turn."""
        connection.pause()
        self._line[connection] = None
        if not self._is_turning:
            self._is_turning = True
            asyncio.get_running_loop().call_later(TURN, self._turn)

    def sweep(self) -> None:
        """Close those that have had nothing to say; to be called about each second."""
        now = self.clock.monotonic()
        for connection in [one for one in self._open if now >= one.due]:
            connection.close()

    def close(self) -> None:
        """Close all."""
        for connection in list(self._open):
            connection.close()

    def _turn(self) -> None:
        left = MESSAGES_A_TURN
        while self._line and left > 0:
            connection = next(iter(self._line))
            del self._line[connection]
            left -= connection.read(min(left, MESSAGES_OF_ONE))
        if self._line:
            asyncio.get_running_loop().call_later(TURN, self._turn)
        else:
            self._is_turning = False


class Connection(asyncio.BufferedProtocol):
    """One of them. Nothing is received on it while it stands in the line."""

    def __init__(self, all_of_them: Connections) -> None:
        self.peer = ""
        self.held = 0
        """Bytes that have come and are not read."""
        self.due = all_of_them.clock.monotonic() + FIRST_WORD_WITHIN
        self._all = all_of_them
        self._wire = ZmtpConnection()
        self._transport: asyncio.Transport | None = None
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet it, or close it."""
        self._transport = cast("asyncio.Transport", transport)
        # None when it was closed meanwhile.
        name = transport.get_extra_info("peername")
        self.peer = str(name[0]) if name else ""
        try:
            self._all.admit(self)
        except RefusedError as error:
            self._refuse(error)
            return
        self._transport.write(GREETING)

    def get_buffer(self, sizehint: int) -> _Buffer:
        """Return where to put what came: one place for all, as it is copied at once."""
        return self._all.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Keep what came, and read it when it is this connection's turn."""
        if self._transport is None:
            return
        self._wire.add(self._all.buffer[:nbytes])
        self._count()
        if self._all.held > MAX_HELD and self.held > SMALL:
            self._refuse(RefusedError("connections", "too much waits to be read on all connections"))
        else:
            self._all.comes(self)

    def pause(self) -> None:
        """Receive nothing more for now."""
        if self._transport is not None and not self._is_paused:
            self._transport.pause_reading()
            self._is_paused = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._transport = None
        self._all.forget(self)

    def read(self, most: int) -> int:
        """Read so many messages at most; return how many, at least 1: a look costs something, too."""
        transport, count = self._transport, 0
        if transport is None:
            return 1
        try:
            while count < most and (message := self._wire.message()) is not None:
                count += 1
                self._hear(message)
            self._count()
        except RefusedError as error:
            self._refuse(error)
            return count + 1
        if self._wire.outgoing:
            transport.write(bytes(self._wire.outgoing))
            self._wire.outgoing.clear()
        if count == most:
            self._all.line_up(self)
        elif self._is_paused and not transport.is_closing():
            transport.resume_reading()
            self._is_paused = False
        return max(count, 1)

    def pause_writing(self) -> None:
        """Close it: somebody who sends and does not read what little is answered."""
        self._refuse(RefusedError("protocol", "it does not read its answers"))

    def close(self) -> None:
        """Close it at once."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        self._all.forget(self)

    def _hear(self, message: bytes) -> None:
        try:
            answer = self._all.heard(message, self.peer)
        except RefusedError as error:
            self._all.refused(error, self.peer)
            if error.answer is not None:
                self._wire.answer(error.answer)
            return
        self.due = self._all.clock.monotonic() + SILENCE
        if answer is not None:
            self._wire.answer(answer)

    def _count(self) -> None:
        held = len(self._wire)
        self._all.held += held - self.held
        self.held = held

    def _refuse(self, error: RefusedError) -> None:
        self._all.refused(error, self.peer)
        self.close()
