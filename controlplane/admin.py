"""What the control plane serves over HTTP: `/status` on the admin port, `/metrics` on the Prometheus port."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from controlplane.status_report import StatusReport


def admin_application(status: Callable[[], StatusReport]) -> Starlette:
    """Return the application of the admin port."""

    async def answer(_request: Request) -> Response:
        return Response(msgspec.json.encode(status()), media_type="application/json")

    return Starlette(routes=[Route("/status", answer)])


def prometheus_application(collector: Collector) -> Starlette:
    """Return the application of the Prometheus port; it writes OpenMetrics for those that ask for it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)

    async def answer(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    return Starlette(routes=[Route("/metrics", answer)])
