"""Which handler answers a path, and the 404 and 405 of those that none does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from . import control, echo, generate, pages
from .errors import ApiError
from .exchange import Exchange
from .kv_transfer import handoffs, mooncake

if TYPE_CHECKING:
    from .worker import Worker

Handler = Callable[["Worker", Exchange], None]
Routes = dict[bytes, dict[bytes, Handler]]

ROUTES: Routes = {
    b"/v1/chat/completions": {b"POST": generate.chat},
    b"/v1/completions": {b"POST": generate.completion},
    b"/v1/embeddings": {b"POST": pages.embeddings},
    b"/v1/models": {b"GET": pages.models},
    b"/tokenize": {b"POST": pages.tokenize},
    b"/detokenize": {b"POST": pages.detokenize},
    b"/health": {b"GET": pages.health},
    b"/ping": {b"GET": pages.health, b"POST": pages.health},
    b"/load": {b"GET": pages.load},
    b"/version": {b"GET": pages.version},
    b"/kv_event_sources": {b"GET": pages.kv_event_sources},
    b"/sim/reset_prefix_cache": {b"POST": pages.reset_prefix_cache},
    b"/metrics": {b"GET": pages.metrics, b"HEAD": pages.metrics},
    b"/sim/faults": {b"GET": control.list_faults, b"POST": control.add_faults, b"DELETE": control.clear_faults},
    b"/sim/requests": {b"GET": control.list_requests, b"DELETE": control.clear_requests},
    b"/sim/handoffs": {b"POST": handoffs.give},
    b"/sim/state": {b"GET": control.state},
}
BOOTSTRAP: Routes = {b"/query": {b"GET": mooncake.query}}
"""Those of Mooncake's bootstrap server."""


class _PlainError(ApiError):
    """FastAPI's own answers, which vLLM leaves in their form."""

    def __init__(self, status: int, detail: str, headers: bytes = b"") -> None:
        super().__init__(status, detail, headers=headers)
        self.body = b'{"detail":"%b"}' % detail.encode()


def route(path: bytes, method: bytes, routes: Routes = ROUTES) -> Handler:
    """Return the handler, or raise the 404 or 405."""
    methods = routes.get(path)
    if methods is None and routes is BOOTSTRAP:
        raise _PlainError(404, "Not Found")
    if methods is None:
        if path == b"/sim/echo" or path.startswith(b"/sim/echo/"):
            return echo.echo
        if path.startswith(b"/sim/workers/"):
            return control.other_worker
        raise _PlainError(404, "Not Found")
    handler = methods.get(method)
    if handler is None:
        # FastAPI names the methods of the first route with that path only.
        raise _PlainError(405, "Method Not Allowed", b"allow: %b\r\n" % next(iter(methods)))
    return handler
