"""`/events` on the admin port: what changed in the fleet, and why."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controlplane.admin_answers import check_query, json_answer, problem
from controlplane.events.reading import MAX_EVENTS, read_events
from shared.runtime_dir import RuntimeDir


def event_routes(runtime: RuntimeDir) -> list[Route]:
    """Return the routes."""

    async def show(request: Request) -> Response:
        check_query(request, "after", "limit")
        asked = request.query_params
        try:
            after, limit = float(asked.get("after", 0.0)), int(asked.get("limit", MAX_EVENTS))
        except ValueError:
            return problem(400, "bad_query", "`after` is a Unix time in seconds, `limit` a number of events.")
        if not 0 < limit <= MAX_EVENTS:
            return problem(400, "bad_query", f"`limit` is {limit}; ask for 1 to {MAX_EVENTS} events.")
        return json_answer(await asyncio.to_thread(read_events, runtime, after=after, limit=limit))

    return [Route("/events", show)]
