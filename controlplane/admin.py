"""What the control plane serves over HTTP: the admin API on its port, `/metrics` on the Prometheus port.

Whoever reaches the admin port commands the router. So with a token nobody gets in without it, and a change that another
web page than ours made its visitor's browser send is refused: browsers name the page in `Origin`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from controlplane.admin_adapters import OrderAdapters, adapter_routes
from controlplane.admin_answers import problem
from controlplane.admin_config import config_routes
from controlplane.admin_events import event_routes
from controlplane.admin_monitor import monitor_routes
from controlplane.admin_planes import plane_routes
from controlplane.admin_report import report_routes
from controlplane.admin_requests import Asking, request_routes
from controlplane.admin_token import TokenFile
from controlplane.admin_workers import worker_routes
from controlplane.cache_flush import Flushed
from controlplane.configuration import Configuration
from controlplane.exposition import page
from controlplane.figures.traffic import Figures
from controlplane.membership import Membership, MembershipError
from controlplane.openapi import document
from controlplane.page.files import is_page_file
from controlplane.page.live import Live
from controlplane.page.origin import is_own_page
from controlplane.page.routes import page_routes
from controlplane.reports.rows import Row
from controlplane.status_report import StatusReport
from controlplane.supervisor_socket import Restarting
from shared.runtime_dir import RuntimeDir


def admin_application(
    status: Callable[[], StatusReport],
    membership: Membership,
    configuration: Configuration,
    questions: Asking,
    restart_planes: Restarting,
    flush_caches: Callable[[], Awaitable[Flushed]],
    order_adapters: OrderAdapters,
    runtime: RuntimeDir,
    figures: Callable[[], Figures],
    live: Live,
    newest: Callable[[], Row | None],
    token: TokenFile | None = None,
) -> Starlette:
    """Return the application of the admin port; `newest` is what the history has not written yet."""

    async def answer_status(_request: Request) -> Response:
        return Response(msgspec.json.encode(status()), media_type="application/json")

    async def answer_openapi(_request: Request) -> Response:
        return Response(msgspec.json.encode(document()), media_type="application/json")

    async def answer_flush(_request: Request) -> Response:
        result = await flush_caches()
        return Response(msgspec.json.encode(result), 502 if result.failed else 200, media_type="application/json")

    return Starlette(
        routes=[
            Route("/status", answer_status),
            Route("/flush_cache", answer_flush, methods=["POST"]),
            Route("/openapi.json", answer_openapi),
            *adapter_routes(order_adapters),
            *config_routes(configuration),
            *event_routes(runtime),
            *monitor_routes(status, figures, runtime),
            *report_routes(runtime, newest),
            *plane_routes(status, restart_planes),
            *request_routes(questions),
            *page_routes(live),
            *worker_routes(status, membership),
        ],
        middleware=[Middleware(_Guard, token=token)],
        exception_handlers={HTTPException: _http_problem, MembershipError: _membership_problem},
    )


class _Guard:
    """Lets in who may command the router."""

    def __init__(self, app: ASGIApp, token: TokenFile | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # By the path that the routes see: that of the request's URL is put together with what `Host` says.
        refusal = None if is_page_file(scope["path"]) else self._refusal(Request(scope))
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        token = self._token
        if token is not None and (refusal := _token_refusal(request, token, "the admin token")) is not None:
            return refusal
        if request.method not in ("GET", "HEAD") and not is_own_page(request.headers, has_token=token is not None):
            message = "The admin API takes no changes from other web pages (Origin)."
            return problem(403, "from_a_web_page", message)
        return None


def _token_refusal(request: Request, token: TokenFile, wanted: str) -> Response | None:
    authorization = request.headers.get("authorization", "")
    if token.matches(authorization):
        return None
    message = f"Send {wanted} as `Authorization: Bearer TOKEN`."
    if authorization:
        message = f"The `Authorization` that was sent is not `Bearer` with {wanted}."
    refusal = problem(401, "bad_token", message)
    refusal.headers["www-authenticate"] = "Bearer"
    return refusal


async def _http_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for no other
    told = {
        404: ("not_found", "There is no such path; GET /openapi.json lists all."),
        400: ("bad_query", error.detail),
        413: ("payload_too_large", error.detail),
    }
    code, message = told.get(error.status_code, ("method_not_allowed", "This path does not take that method."))
    answer = problem(error.status_code, code, message)
    answer.headers.update(error.headers or {})
    return answer


async def _membership_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, MembershipError)  # noqa: S101 - it is registered for no other
    return problem(error.status, error.code, str(error))


def prometheus_application(collector: Collector, token: TokenFile | None = None) -> Starlette:
    """Return the application of the Prometheus port; it writes OpenMetrics for those that ask for it."""

    async def answer(request: Request) -> Response:
        wanted = "the token of --prometheus-token-file"
        if token is not None and (refusal := _token_refusal(request, token, wanted)) is not None:
            return refusal
        _, content_type = choose_encoder(request.headers.get("accept", ""))
        is_openmetrics = content_type.startswith("application/openmetrics-text")
        body = await page(collector.collect(), openmetrics=is_openmetrics)
        return Response(body, headers={"content-type": content_type})

    return Starlette(routes=[Route("/metrics", answer)])
