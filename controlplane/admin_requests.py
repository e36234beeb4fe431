"""`/requests` and `/explain` on the admin port: what planes have at work, and why a request went where it went."""

from __future__ import annotations

from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controlplane.admin_answers import json_answer, problem
from shared.receipt import Receipt
from shared.request_lines import MAX_LINES, RequestLines

PATIENCE = 1.0
"""Seconds that planes have to answer."""


class Asking(Protocol):
    """What asks the planes."""

    async def receipts(self, request: str, patience: float) -> tuple[Receipt, ...]:
        """Return what the planes know of a request."""
        ...

    async def request_lines(self, most: int, patience: float, *, troubled: bool) -> RequestLines:
        """Return the open and the last requests of all planes, `most` of each kind."""
        ...


def request_routes(planes: Asking) -> list[Route]:
    """Return the routes."""

    async def show(request: Request) -> Response:
        asked = request.query_params
        try:
            limit = int(asked.get("limit", MAX_LINES))
        except ValueError:
            limit = 0
        if not 0 < limit <= MAX_LINES:
            return problem(400, "bad_query", f"`limit` is a number of requests of each kind, 1 to {MAX_LINES}.")
        troubled = asked.get("troubled", "no").lower() in ("", "1", "true", "yes")
        return json_answer(await planes.request_lines(limit, PATIENCE, troubled=troubled))

    async def explain(request: Request) -> Response:
        name = request.path_params["request"]
        if found := await planes.receipts(name, PATIENCE):
            return json_answer(max(found, key=lambda receipt: receipt.arrived))
        message = (
            f"No plane knows of a request {name[:200]!r}: it has not ended, it is older than the last ones "
            "(--receipts N), its plane was replaced since, the router answered it itself (such as /v1/models and "
            "/health) or turned it away before it was read (no valid API key, a closed path; the plane's log says "
            "why), or it was made at another router."
        )
        return problem(404, "request_not_found", message)

    return [Route("/requests", show), Route("/explain/{request:path}", explain)]
