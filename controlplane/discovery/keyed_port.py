"""The port where workers register with keys: encrypted, both sides proven (CURVE), and for nothing else.

It has a ZeroMQ context of its own: in each, one place is asked about keys, and a worker's key must not open the port
for planes, nor the other way round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import zmq

from controlplane.keyed_ports import BATCH, KeyedPorts
from controlplane.plane_keys_folder import REGISTRARS
from controlplane.remote_tally import Tally
from shared.clock import Clock
from shared.registration import MAX_FRAME
from shared.remote_address import TcpAddress
from shared.sockets import Context, Socket, registration_server, send_or_drop

Take = Callable[[bytes, str], bytes | None]
"""Takes a message and its sender's address; returns the answer, if any."""
_FRAMES = 2
_PEER = "Peer-Address"


class KeyedRegistrationPort:
    """Owns the socket. It is there while `run` runs and there are keys to use."""

    def __init__(self, address: TcpAddress, keys: Path, clock: Clock, descriptors: int) -> None:
        """`keys` is the folder, with those of workers in `workers/`; at most half of the `descriptors` are used."""
        self._address = address
        self._context = Context()
        self._ports = KeyedPorts(self._context, address, keys, REGISTRARS, clock, descriptors)

    @property
    def tally(self) -> Tally:
        """How many came."""
        return self._ports.tally

    async def run(self, take: Take) -> None:
        """Listen until cancelled. Once only."""
        make = partial(registration_server, self._context, str(self._address), largest=MAX_FRAME)
        try:
            await self._ports.run((make,), partial(self._serve, take))
        finally:
            self._context.destroy(linger=0)

    async def _serve(self, take: Take, sockets: Sequence[Socket]) -> None:
        (socket,) = sockets
        while True:
            for _ in range(BATCH):
                _answer(socket, take, await socket.recv_multipart(copy=False))
            await asyncio.sleep(0)


def _answer(socket: Socket, take: Take, frames: list[zmq.Frame]) -> None:
    # More would be a message of another protocol: of which frame its sender is known is not said.
    if len(frames) != _FRAMES:
        return
    sender, message = frames
    answer = take(message.bytes, str(message.get(_PEER)))
    if answer is not None:
        send_or_drop(socket, [sender.bytes, answer])
