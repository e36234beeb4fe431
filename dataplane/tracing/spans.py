"""The spans of one request that has ended, from its receipt's row. No clock, no socket, no OpenTelemetry.

    POST /v1/chat/completions                     server    from the request's arrival to its end
    +-- receive                                   internal  until a worker was chosen
    +-- chat MODEL | prefill MODEL | decode MODEL  client    one for each attempt; the worker's spans are its children
        +-- connect                               internal  until the request was sent
        +-- wait                                  internal  until the answer's first byte
        +-- stream                                internal  until its last

Attributes have the names of OpenTelemetry's semantic conventions for HTTP and for generative AI where these have one,
else vLLM's (`gen_ai.latency.*`), vllm-router's (`vllm.request_phase`) or our own.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from dataplane.access_lines import Ended
from dataplane.receipts import Row, Try, count_of
from dataplane.tracing.context import Trace
from shared.routes import UNKNOWN, route_of

Kind = Literal["server", "client", "internal"]
Attributes = dict[str, str | int | float]

OPERATIONS = {
    "chat": "chat",
    "responses": "chat",
    "messages": "chat",
    "completions": "text_completion",
    "generate": "text_completion",
    "embeddings": "embeddings",
}
"""`gen_ai.operation.name` by family of routes; others have none there."""
_PHASES = {"plain": "inference", "prefill": "prefill", "decode": "decode"}


class Span(NamedTuple):
    """One span. Times are the loop's, in seconds. `span_id` 0: any will do, nobody refers to it."""

    name: str
    kind: Kind
    span_id: int
    parent_id: int
    began: float
    ended: float
    attributes: Attributes
    error: str = ""


def spans_of(request: Ended, trace: Trace) -> Iterator[Span]:
    """Yield the request's own span, then those below it."""
    request_id, method, path, model, times, outcome, status, _, _, stamp, tries, extra = request.row
    began, first_byte, ended = times
    route = route_of(path)
    operation = OPERATIONS.get(route.family, "")
    attributes: Attributes = {
        "http.request.method": method,
        "url.path": path,
        "routerctl.request_id": request_id.decode("latin-1"),
        "routerctl.outcome": outcome,
        "routerctl.table": f"{stamp.epoch}.{stamp.version}",
        "routerctl.attempts": count_of(tries),
    }
    if status:
        attributes["http.response.status_code"] = status
    if route is not UNKNOWN:
        attributes["http.route"] = route.path
    if request.client is not None:
        host, port = request.client
        attributes["client.address"] = host
        if port:
            attributes["client.port"] = int(port)
    if operation:
        attributes["gen_ai.operation.name"] = operation
    if model is not None:
        attributes["gen_ai.request.model"] = model
    if extra.key is not None:
        attributes["enduser.id"] = extra.key
    if extra.arm is not None:
        attributes["routerctl.model"] = extra.arm.arm.model
    if first_byte:
        attributes["gen_ai.latency.time_to_first_token"] = first_byte - began
    _add_usage(attributes, request)
    error = _error_of(request.row, request.cause)
    if error:
        attributes["error.type"] = outcome.partition(" ")[2] or str(status)
    name = method if route is UNKNOWN else f"{method} {route.path}"
    yield Span(name, "server", trace.span_id, trace.parent_id, began, ended, attributes, error)
    chosen = tries[0].began if tries else ended
    yield Span("receive", "internal", 0, trace.span_id, began, chosen, {})
    for one in tries:
        yield from _attempt(one, trace.span_id, operation, model, request)


def _attempt(one: Try, parent: int, operation: str, model: str | None, request: Ended) -> Iterator[Span]:
    span = one.span
    if span is None:
        # It began before anybody asked for traces.
        return
    what = operation or "forward" if one.pool == "plain" else one.pool
    attributes: Attributes = {
        "vllm.request_phase": _PHASES[one.pool],
        "routerctl.worker": one.worker,
        "routerctl.policy": one.policy,
    }
    worker = urlsplit(one.worker.partition("@")[0])
    if worker.hostname is not None:
        attributes["server.address"] = worker.hostname
    if worker.port is not None:
        attributes["server.port"] = worker.port
    if operation:
        attributes["gen_ai.operation.name"] = operation
    if model is not None:
        attributes["gen_ai.request.model"] = model
    if span.status:
        attributes["http.response.status_code"] = span.status
    if one is request.row[10][-1]:
        _add_usage(attributes, request)
    if one.failed:
        attributes["error.type"] = str(span.status) if span.status >= 400 else "attempt_failed"
    name = what if model is None else f"{what} {model}"
    ended = span.ended or request.row[4][2]
    yield Span(name, "client", span.span_id, parent, one.began, ended, attributes, one.failed)
    moments = (("connect", one.began), ("wait", span.sent), ("stream", span.first_byte), ("", ended))
    for (phase, begins), (_, ends) in pairwise(moments):
        if not begins:
            return
        yield Span(phase, "internal", 0, span.span_id, begins, ends or ended, {})


def _add_usage(attributes: Attributes, request: Ended) -> None:
    usage = request.usage
    if usage is not None:
        attributes["gen_ai.usage.input_tokens"] = usage.prompt
        attributes["gen_ai.usage.output_tokens"] = usage.output
        if usage.cached:
            attributes["gen_ai.usage.cache_read.input_tokens"] = usage.cached


def _error_of(row: Row, cause: str) -> str:
    """Return why the request is an error to whoever looks for some; a client's own 4xx and its leaving are none."""
    outcome, status = row[5], row[6]
    if outcome == "answered":
        return f"status {status}" if status >= 500 else ""
    if outcome == "aborted by client" or (outcome.startswith("rejected") and status < 500):
        return ""
    return cause or outcome
