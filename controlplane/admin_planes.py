"""`/planes` on the admin port: JSON in and out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controlplane.admin_answers import json_answer, problem, read_body
from controlplane.status_report import PlaneStatus, StatusReport
from controlplane.supervision import START_PATIENCE
from controlplane.supervisor_socket import NoSupervisorError, Outcome, PlanesRestarted, restart_planes
from shared.decoding import DECODE_ERRORS
from shared.runtime_dir import RuntimeDir
from shared.sockets import Context

RestartPlanes = Callable[[tuple[int, ...]], Awaitable[PlanesRestarted]]

_STATUS: dict[Outcome, int] = {"restarted": 200, "refused": 409, "stopped": 500}


class PlaneList(msgspec.Struct):
    """All planes, and how many there should be beside the control plane."""

    planes: tuple[PlaneStatus, ...]
    data_planes: int


class _Wish(msgspec.Struct, forbid_unknown_fields=True):
    slots: tuple[int, ...] = ()


def restart_through(context: Context, runtime: RuntimeDir, planes: int) -> RestartPlanes:
    """Return what asks the supervisor, which has so many planes, for a rolling restart."""

    async def restart(slots: tuple[int, ...]) -> PlanesRestarted:
        return await restart_planes(context, runtime, slots, timeout=(START_PATIENCE + 1.0) * planes)

    return restart


def plane_routes(status: Callable[[], StatusReport], restart: RestartPlanes) -> list[Route]:
    """Return the routes."""

    async def show_all(_request: Request) -> Response:
        report = status()
        return json_answer(PlaneList(report.planes, report.data_planes))

    async def restart_some(request: Request) -> Response:
        body = await read_body(request)
        try:
            wish = msgspec.json.decode(body, type=_Wish) if body else _Wish()
        except DECODE_ERRORS as error:
            return problem(400, "bad_body", f'The body is not {{"slots": [0, 1]}}: {error}.')
        try:
            done = await restart(wish.slots)
        except NoSupervisorError as error:
            return problem(503, "no_supervisor", str(error))
        return json_answer(done, _STATUS[done.outcome])

    return [Route("/planes", show_all), Route("/planes/restart", restart_some, methods=["POST"])]
