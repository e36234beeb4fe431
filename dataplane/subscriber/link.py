"""How a plane reaches the control plane: by sockets in the runtime folder; `remote_link.py` is for other hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple, Protocol

from shared.runtime_dir import RuntimeDir
from shared.sockets import Context, Socket, control_client, subscriber


class Sockets(NamedTuple):
    """SUB and DEALER, connected."""

    updates: Socket
    control: Socket


class Link(Protocol):
    """Makes the sockets to the control plane, and makes them anew when it has to."""

    async def open(self, context: Context, identity: bytes) -> Sockets:
        """Return new sockets; may wait first."""
        ...

    async def over(self, heard: Callable[[], float | None]) -> None:
        """Return when they are to be closed and opened again. `heard` is when the control plane was heard last."""
        ...


class LocalLink:
    """The sockets in the runtime folder: made once, they connect again by themselves."""

    def __init__(self, runtime: RuntimeDir) -> None:
        self._runtime = runtime

    async def open(self, context: Context, identity: bytes) -> Sockets:
        """Return the sockets."""
        return Sockets(
            subscriber(context, self._runtime.publish_endpoint),
            control_client(context, self._runtime.control_endpoint, identity),
        )

    async def over(self, heard: Callable[[], float | None]) -> None:
        """Never return."""
        await asyncio.Event().wait()
