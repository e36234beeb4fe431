"""LoRA adapters on the admin port, at vLLM's paths."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controlplane.admin_answers import check_query, json_answer, problem, read_body
from shared.adapters import VERBS, AdapterOrder, AdapterProblem, AdapterReport, AdapterVerb

OrderAdapters = Callable[[AdapterVerb, AdapterOrder], Awaitable[AdapterReport | AdapterProblem]]


def adapter_routes(order: OrderAdapters) -> list[Route]:
    """Return the routes."""

    async def answer(request: Request) -> Response:
        check_query(request, "model")
        body = (await read_body(request)).decode("utf-8", "replace")
        ordered = await order(VERBS[request.url.path], AdapterOrder(body=body, model=request.query_params.get("model")))
        if isinstance(ordered, AdapterProblem):
            return problem(ordered.status, ordered.code, ordered.message)
        return json_answer(ordered, ordered.status)

    return [Route(path, answer, methods=["POST"]) for path in VERBS]
