"""The supervisor's own socket: whoever may enter the runtime folder can ask it for a rolling restart of planes.

The control plane does, for its admin API. A request and its answer are one frame each, in msgpack.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
from zmq import ZMQError

from controlplane.supervision import START_PATIENCE
from shared.decoding import DECODE_ERRORS
from shared.process import is_alive
from shared.runtime_dir import RuntimeDir, SupervisorRecord, read_record
from shared.sockets import Context, ask, control_server, send_or_drop

log = logging.getLogger("supervisor")

_MAX_REQUESTS = 16
"""Requests under way at a time; all but one are only waiting to be refused."""

Outcome = Literal["restarted", "stopped", "refused"]


class RestartPlanes(msgspec.Struct, frozen=True, tag="restart-planes"):
    """Replace the planes of these slots, one after the other; all when it names none."""

    slots: tuple[int, ...] = ()


class PlaneRestart(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one plane.

    `restarted`: `new_pid` served `seconds` after its start, and `old_pid` ends when its open requests have ended or its
    grace time is over. `failed`: `old_pid` goes on; `reason` says why. `untouched`: the roll had stopped before.
    """

    slot: int
    outcome: Literal["restarted", "failed", "untouched"]
    old_pid: int | None
    new_pid: int | None = None
    seconds: float = 0.0
    reason: str = ""


class PlanesRestarted(msgspec.Struct, frozen=True, kw_only=True, tag="planes-restarted"):
    """What became of a rolling restart.

    `stopped`: a new plane did not come up, and the planes behind it were not touched. `refused`: nothing was done.
    """

    outcome: Outcome
    reason: str = ""
    planes: tuple[PlaneRestart, ...] = ()


Restarting = Callable[[tuple[int, ...]], Awaitable[PlanesRestarted]]
"""Has the planes of these slots replaced, all where none is named. Raises NoSupervisorError."""


class NoSupervisorError(Exception):
    """Nobody is there to restart planes; the message says so."""


class SupervisorSocket:
    """Answers requests; `restart` does what they ask for."""

    def __init__(
        self,
        context: Context,
        runtime: RuntimeDir,
        restart: Restarting,
    ) -> None:
        self._context = context
        self._runtime = runtime
        self._restart = restart

    async def run(self) -> None:
        """Answer until cancelled; a folder that takes no socket is logged, and everything else goes on."""
        try:
            self._socket = control_server(self._context, self._runtime.supervisor_endpoint)
        except ZMQError as error:
            log.error("can not take requests at %s: %s", self._runtime.supervisor_socket, error.strerror)
            return
        try:
            async with asyncio.TaskGroup() as group:
                under_way: set[asyncio.Task[None]] = set()
                while True:
                    identity, *frames = await self._socket.recv_multipart()
                    try:
                        request = msgspec.msgpack.decode(frames[-1] if frames else b"", type=RestartPlanes)
                    except DECODE_ERRORS as error:
                        log.warning("ignored what is no request on the supervisor's socket: %s", error)
                        continue
                    if len(under_way) < _MAX_REQUESTS:
                        task = group.create_task(self._answer(identity, request))
                        under_way.add(task)
                        task.add_done_callback(under_way.discard)
        finally:
            self._socket.close()
            self._runtime.supervisor_socket.unlink(missing_ok=True)

    async def _answer(self, identity: bytes, request: RestartPlanes) -> None:
        send_or_drop(self._socket, [identity, msgspec.msgpack.encode(await self._restart(request.slots))])


async def restart_planes(
    context: Context, runtime: RuntimeDir, slots: tuple[int, ...], *, timeout: float
) -> PlanesRestarted:
    """Ask the supervisor for a rolling restart and wait for its end. Raises NoSupervisorError."""
    record = read_record(runtime.supervisor, SupervisorRecord)
    if record is not None and is_alive(record) and record.is_stopping:
        raise NoSupervisorError("The router is stopping, and starts no planes.")
    if record is None or not is_alive(record) or not runtime.supervisor_socket.exists():
        raise NoSupervisorError("There is no supervisor, which alone starts planes; run `routerctl start` again.")
    frame = await ask(
        context, runtime.supervisor_endpoint, msgspec.msgpack.encode(RestartPlanes(slots)), timeout=timeout
    )
    if frame is None:
        raise NoSupervisorError(f"The supervisor (pid {record.pid}) did not answer within {timeout:g} s; see its log.")
    return msgspec.msgpack.decode(frame, type=PlanesRestarted)


def restart_through(context: Context, runtime: RuntimeDir, planes: int) -> Restarting:
    """Return what asks the supervisor, which has so many planes, for a rolling restart."""

    async def restart(slots: tuple[int, ...]) -> PlanesRestarted:
        return await restart_planes(context, runtime, slots, timeout=(START_PATIENCE + 1.0) * planes)

    return restart
