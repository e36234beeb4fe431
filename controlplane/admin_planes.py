"""`/planes` on the admin port: JSON in and out."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controlplane.admin_answers import json_answer, problem, read_body
from controlplane.status_report import PlaneStatus, StatusReport
from controlplane.supervisor_socket import NoSupervisorError, Outcome, Restarting
from shared.decoding import DECODE_ERRORS

_STATUS: dict[Outcome, int] = {"restarted": 200, "refused": 409, "stopped": 500}


class PlaneList(msgspec.Struct):
    """All planes, and how many there should be beside the control plane."""

    planes: tuple[PlaneStatus, ...]
    data_planes: int


class _Wish(msgspec.Struct, forbid_unknown_fields=True):
    slots: tuple[int, ...] = ()


def plane_routes(status: Callable[[], StatusReport], restart: Restarting) -> list[Route]:
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
