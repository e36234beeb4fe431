"""`/report` on the admin port: what the router did over minutes, hours or days."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controlplane.admin_answers import json_answer, problem
from controlplane.reports.kept import report_of
from controlplane.reports.rows import Row
from shared.runtime_dir import RuntimeDir

USUAL_SECONDS = 3600.0


def report_routes(runtime: RuntimeDir, newest: Callable[[], Row | None]) -> list[Route]:
    """Return the routes; `newest` is what was counted since the last row that was written."""
    one_at_a_time = asyncio.Lock()

    async def show(request: Request) -> Response:
        text = request.query_params.get("seconds", str(USUAL_SECONDS))
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < 1e9:
            return problem(400, "bad_query", f"`seconds` is {text[:50]!r}; write how far to go back, 0 for all.")
        # Reading days of rows takes a second of a core, which planes' messages have to share.
        async with one_at_a_time:
            row = newest()
            until = row.time if row is not None else time.time()
            since = until - seconds if seconds else 0.0
            report = await asyncio.to_thread(report_of, runtime, since, until, row)
        return json_answer(report)

    return [Route("/report", show)]
