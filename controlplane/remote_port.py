"""The ports for planes on other hosts: the same talk as in the runtime folder, over TCP and with keys only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from controlplane.keyed_ports import BATCH, KeyedPorts
from controlplane.plane_keys_folder import PLANES_ELSEWHERE
from controlplane.remote_tally import Tally
from shared.clock import Clock
from shared.config import StartConfig
from shared.process import raise_descriptor_limit
from shared.remote_address import RemoteAddress, parse_remote_address
from shared.sockets import Context, Socket, control_server, publisher, send_or_drop

Reply = Callable[[list[bytes]], None]
Take = Callable[[list[bytes], Reply], None]


class RemotePort:
    """Owns the sockets to planes on other hosts. They are there while `run` runs and there are keys to use."""

    def __init__(self, context: Context, address: RemoteAddress, keys: Path, clock: Clock, descriptors: int) -> None:
        """`keys` is the folder; at most half of the `descriptors` are used."""
        self._context = context
        self._address = address
        self._ports = KeyedPorts(context, address, keys, PLANES_ELSEWHERE, clock, descriptors)
        self._publish_socket: Socket | None = None
        self._control_socket: Socket | None = None

    @property
    def tally(self) -> Tally:
        """How many came."""
        return self._ports.tally

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
        makers = (
            partial(publisher, self._context, self._address.publish_endpoint),
            partial(control_server, self._context, self._address.control_endpoint),
        )
        await self._ports.run(makers, partial(self._serve, take))

    async def _serve(self, take: Take, sockets: Sequence[Socket]) -> None:
        publish, control = sockets
        self._publish_socket, self._control_socket = publish, control
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_drain(publish))
                group.create_task(self._take_reports(control, take))
        finally:
            self._publish_socket = self._control_socket = None

    async def _take_reports(self, control: Socket, take: Take) -> None:
        while True:
            for _ in range(BATCH):
                take(await control.recv_multipart(), self.reply)
            await asyncio.sleep(0)


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
        for _ in range(BATCH):
            await publish.recv()
        await asyncio.sleep(0)
