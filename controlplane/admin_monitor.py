"""`/monitor` and `/summary` on the admin port: what a monitor needs, in one answer for each refresh."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controlplane.admin_answers import json_answer, problem
from controlplane.events.reading import newest_events
from controlplane.figures.monitor import Monitor, summary
from controlplane.figures.traffic import Figures
from controlplane.status_report import StatusReport
from shared.runtime_dir import RuntimeDir

MOST_EVENTS = 100
USUAL_EVENTS = 20


def monitor_routes(
    status: Callable[[], StatusReport], figures: Callable[[], Figures], runtime: RuntimeDir
) -> list[Route]:
    """Return the routes."""

    async def show(request: Request) -> Response:
        text = request.query_params.get("events", str(USUAL_EVENTS))
        if not (text.isascii() and text.isdecimal() and int(text) <= MOST_EVENTS):
            return problem(400, "bad_query", f"`events` is {text[:50]!r}; ask for 0 to {MOST_EVENTS} events.")
        events = await asyncio.to_thread(newest_events, runtime, int(text)) if int(text) else ()
        report = status()
        told = Monitor(time=time.time(), summary=summary(report, figures()), status=report, events=events)
        return json_answer(told)

    async def show_summary(_request: Request) -> Response:
        return json_answer(summary(status(), figures()))

    return [Route("/monitor", show), Route("/summary", show_summary)]
