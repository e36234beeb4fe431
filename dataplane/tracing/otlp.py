"""Spans in OpenTelemetry's own messages, sent to a collector: OTLP over HTTP.

The messages are opentelemetry-proto's. The SDK's exporter would fill them in as well, but by way of two other shapes,
which takes five times as long, and that with the interpreter's lock, for which the event loop waits.

Imported by the exporter's thread alone: loading these packages takes some time.
"""

from __future__ import annotations

import gzip
import os
import random
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.proto.trace.v1.trace_pb2 import SpanFlags, Status
from opentelemetry.sdk.resources import Resource

from dataplane.tracing.context import Trace
from dataplane.tracing.environment import sending, variable
from dataplane.tracing.spans import Span
from shared.version import __version__

TIMEOUT = 5.0
"""Seconds for one message, repetitions included; see `Collector.send`."""
_LEAST_LEFT = 0.001
"""Seconds: a socket with none at all does not wait, and says something else than that time is up."""
_FIRST_PAUSE = 0.5
_LONGEST_CAUSE = 200
"""Characters."""
_REPEATED = frozenset({429, 502, 503, 504})
"""Statuses after which OTLP's specification has a message sent again."""

_KINDS = {
    "server": Message.SPAN_KIND_SERVER,
    "client": Message.SPAN_KIND_CLIENT,
    "internal": Message.SPAN_KIND_INTERNAL,
}
_FLAGS = 1 | SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
"""Sampled (W3C Trace Context), and it is known whether the parent is remote."""
_REMOTE_FLAGS = _FLAGS | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK


class CollectorError(Exception):
    """Nothing can be sent; the text says why."""


class Batch:
    """Spans that are sent in one message."""

    def __init__(self, resource: Resource, ago: float, draw: random.Random) -> None:
        """`ago` makes Unix time of the loop's, in seconds; `draw` gives the ids of spans to which nobody refers."""
        self._ago = ago
        self._draw = draw
        self._request = ExportTraceServiceRequest()
        group = self._request.resource_spans.add()
        group.schema_url = resource.schema_url
        for key, value in resource.attributes.items():
            _set(group.resource.attributes.add(), key, value if isinstance(value, (int, float)) else str(value))
        scope = group.scope_spans.add()
        scope.scope.name, scope.scope.version = "routerctl", __version__
        self._spans = scope.spans

    def add(self, span: Span, trace: Trace) -> None:
        """Have a span of this trace sent with the others."""
        message = self._spans.add(
            trace_id=trace.trace_id.to_bytes(16),
            span_id=(span.span_id or self._draw.getrandbits(64) or 1).to_bytes(8),
            name=span.name,
            kind=_KINDS[span.kind],
            start_time_unix_nano=round((span.began + self._ago) * 1e9),
            end_time_unix_nano=round((span.ended + self._ago) * 1e9),
            # Only a request's own span has its parent elsewhere.
            flags=_REMOTE_FLAGS if span.kind == "server" and span.parent_id else _FLAGS,
        )
        if span.parent_id:
            message.parent_span_id = span.parent_id.to_bytes(8)
        if span.error:
            message.status.code = Status.STATUS_CODE_ERROR
            message.status.message = span.error
        attributes = message.attributes
        for key, value in span.attributes.items():
            _set(attributes.add(), key, value)

    def encoded(self) -> bytes:
        """Return the message's bytes."""
        encoded: bytes = self._request.SerializeToString()
        return encoded


def _set(attribute: KeyValue, key: str, value: str | int | float) -> None:
    attribute.key = key
    if isinstance(value, str):
        attribute.value.string_value = value
    elif isinstance(value, int):
        attribute.value.int_value = value
    else:
        attribute.value.double_value = value


class TimeLeft:
    """The time of one message, in the shape of httpx's `timeout` extension: each step asks for its own as it begins."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        """`now` in seconds."""
        self._now = now
        self._until = now() + seconds

    def get(self, step: str, default: object = None) -> float:
        """Return for how many seconds a step may wait that begins now."""
        return max(self.seconds, _LEAST_LEFT)

    @property
    def seconds(self) -> float:
        """What is left."""
        return self._until - self._now()


class Collector:
    """One collector. Keys, certificates and compression come from OTEL_EXPORTER_OTLP_... in the environment."""

    def __init__(self, endpoint: str, instance: str, ago: float, closing: threading.Event) -> None:
        """`instance` names the plane; `ago` as for `Batch`; `closing` ends a pause between two attempts.

        Raises CollectorError when a certificate can not be loaded.
        """
        self._endpoint = endpoint
        self._ago = ago
        self._closing = closing
        self._draw = random.Random()
        self._resource = Resource.create(
            {"service.name": "routerctl", "service.version": __version__, "service.instance.id": instance}
        )
        told = sending(os.environ)
        headers = {**told.headers, "content-type": "application/x-protobuf"}
        self._is_compressed = told.is_compressed
        if self._is_compressed:
            headers["content-encoding"] = "gzip"
        self._http = httpx.Client(headers=headers, timeout=None, verify=_context())  # noqa: S113 - see `_post`

    def batch(self) -> Batch:
        """Begin a message."""
        return Batch(self._resource, self._ago, self._draw)

    def send(self, batch: Batch, within: float = TIMEOUT) -> str:
        """Send what is in it; return why the collector did not take it, nothing when it did.

        Connecting, sending, the answer and repetitions have `TIMEOUT` together, or `within` seconds where that is less;
        to look a name up is not in them. No wait for bytes is longer than what was left when its step began. So a
        collector that takes the message or gives its answer's head (100 KB of it at most) in single bytes is listened
        to longer; its answer's rest is not.
        """
        content = batch.encoded()
        if self._is_compressed:
            content = gzip.compress(content)
        seconds = min(within, TIMEOUT)
        left = TimeLeft(seconds)
        pause = _FIRST_PAUSE
        while True:
            try:
                status = self._post(content, left)
            except httpx.RequestError as error:
                why = _cause(error, seconds)
            else:
                if 200 <= status < 300:
                    return ""
                why = f"it answers with status {status}"
                if status not in _REPEATED:
                    return why
            if left.seconds < pause or self._closing.wait(pause):
                return why
            pause *= 2

    def _post(self, content: bytes, left: TimeLeft) -> int:
        with self._http.stream("POST", self._endpoint, content=content, extensions={"timeout": left}) as answer:
            # The status says all; the rest is read so that the connection can be used again.
            with suppress(httpx.RequestError):
                for _ in answer.iter_raw():
                    if left.seconds <= 0:
                        break
            return answer.status_code

    def close(self) -> None:
        """Send nothing more."""
        self._http.close()


def _cause(error: httpx.RequestError, seconds: float) -> str:
    """Return why no answer came. What is said of a message that could not be made may hold values of headers."""
    if isinstance(error, httpx.TimeoutException):
        what = "no connection" if isinstance(error, httpx.ConnectTimeout) else "no answer"
        return f"{what} in {seconds:.2g} s"
    if isinstance(error, httpx.LocalProtocolError):
        return "the message to it can not be sent as HTTP; see OTEL_EXPORTER_OTLP_HEADERS"
    return " ".join(str(error).split())[:_LONGEST_CAUSE] or type(error).__name__


def _context() -> ssl.SSLContext:
    authority, certificate, key = _file("CERTIFICATE"), _file("CLIENT_CERTIFICATE"), _file("CLIENT_KEY")
    try:
        context = ssl.create_default_context(cafile=authority or None)
        if certificate:
            context.load_cert_chain(certificate, key or None)
    except OSError as error:
        files = ", ".join(file for file in (authority, certificate, key) if file)
        raise CollectorError(
            f"{error.strerror or error} with {files}: "
            "see OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE and _CLIENT_KEY"
        ) from error
    return context


def _file(name: str) -> str:
    return variable(os.environ, name)[1]
