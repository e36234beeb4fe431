"""Everything that the page needs beside the admin API."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controlplane.admin_answers import json_answer
from controlplane.membership import no_worker
from controlplane.page.files import file_routes
from controlplane.page.live import Live


def page_routes(live: Live) -> list[Route]:
    """Return the routes. They stand before those of workers, whose ids are paths."""

    async def follow(_request: Request) -> Response:
        return live.answer()

    async def history(request: Request) -> Response:
        name = request.path_params["id"]
        found = live.history(name)
        if not found.times:
            raise no_worker(name)
        return json_answer(found)

    return [Route("/live", follow), Route("/workers/{id:path}/history", history), *file_routes()]
