"""Which handler answers a path, and the 404 and 405 of those that none does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from . import control, echo, generate, lora, messages, pages, pooling, realtime, responses, speech, tokens
from .errors import PlainError
from .exchange import Exchange
from .kv_transfer import handoffs, mooncake

if TYPE_CHECKING:
    from .worker import Worker

Handler = Callable[["Worker", Exchange], None]
Routes = dict[bytes, dict[bytes, Handler]]

ROUTES: Routes = {
    b"/v1/chat/completions": {b"POST": generate.chat},
    b"/v1/chat/completions/batch": {b"POST": generate.batch},
    b"/v1/completions": {b"POST": generate.completion},
    b"/v1/responses": {b"POST": responses.create},
    b"/v1/messages": {b"POST": messages.create},
    b"/v1/messages/count_tokens": {b"POST": messages.count_tokens},
    b"/inference/v1/generate": {b"POST": tokens.create},
    b"/invocations": {b"POST": tokens.invocations},
    b"/v1/audio/transcriptions": {b"POST": speech.transcribe},
    b"/v1/audio/translations": {b"POST": speech.transcribe},
    b"/v1/realtime": {b"GET": realtime.realtime},
    b"/v1/embeddings": {b"POST": pooling.embeddings},
    b"/pooling": {b"POST": pooling.pooling},
    b"/classify": {b"POST": pooling.classify},
    b"/score": {b"POST": pooling.score},
    b"/v1/score": {b"POST": pooling.score},
    b"/rerank": {b"POST": pooling.rerank},
    b"/v1/rerank": {b"POST": pooling.rerank},
    b"/v2/rerank": {b"POST": pooling.rerank},
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


_LORA: Routes = {
    b"/v1/load_lora_adapter": {b"POST": lora.load},
    b"/v1/unload_lora_adapter": {b"POST": lora.unload},
}
_RESPONSE = b"/v1/responses/"


def route(path: bytes, method: bytes, routes: Routes = ROUTES, *, has_lora: bool = False) -> Handler:
    """Return the handler, or raise the 404 or 405; `has_lora`: adapters can be loaded."""
    methods = routes.get(path)
    if methods is None and routes is ROUTES:
        methods = _of_a_response(path) or (_LORA.get(path) if has_lora else None)
    if methods is None and routes is BOOTSTRAP:
        raise PlainError(404, "Not Found")
    if methods is None:
        if path == b"/sim/echo/socket":
            return realtime.echo
        if path == b"/sim/echo" or path.startswith(b"/sim/echo/"):
            return echo.echo
        if path.startswith(b"/sim/workers/"):
            return control.other_worker
        raise PlainError(404, "Not Found")
    handler = methods.get(method)
    if handler is None:
        # FastAPI names the methods of the first route with that path only.
        raise PlainError(405, "Method Not Allowed", b"allow: %b\r\n" % next(iter(methods)))
    return handler


def _of_a_response(path: bytes) -> dict[bytes, Handler] | None:
    if not path.startswith(_RESPONSE):
        return None
    identity, _, verb = path.removeprefix(_RESPONSE).partition(b"/")
    if not identity or verb not in (b"", b"cancel"):
        return None
    return {b"POST": responses.cancel} if verb else {b"GET": responses.retrieve}
