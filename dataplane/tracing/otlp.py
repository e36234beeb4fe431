"""Spans in OpenTelemetry's shape, sent to a collector by its own exporter: OTLP over HTTP.

Imported by the exporter's thread alone: loading these packages takes half a second.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from dataplane.tracing.context import Trace
from dataplane.tracing.spans import Span
from shared.version import __version__

TIMEOUT = 5.0
"""Seconds for one message, repetitions included."""

_KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SCOPE = InstrumentationScope("routerctl", __version__)

# It logs each failure, of which there are many while a collector is away; ours come once a minute.
logging.getLogger(OTLPSpanExporter.__module__).setLevel(logging.CRITICAL)


class Collector:
    """One collector. Headers (such as keys) come from OTEL_EXPORTER_OTLP_HEADERS, as everywhere."""

    def __init__(self, endpoint: str, instance: str, ago: float) -> None:
        """`instance` names the plane; `ago` makes Unix time of the loop's, in seconds."""
        self._ago = ago
        self._exporter = OTLPSpanExporter(endpoint=endpoint, timeout=TIMEOUT)
        self._resource = Resource.create(
            {"service.name": "routerctl", "service.version": __version__, "service.instance.id": instance}
        )
        self._draw = random.Random().getrandbits

    def readable(self, span: Span, trace: Trace) -> ReadableSpan:
        """Return a span in OpenTelemetry's shape."""
        parent = SpanContext(trace.trace_id, span.parent_id, False, _SAMPLED) if span.parent_id else None
        return ReadableSpan(
            name=span.name,
            context=SpanContext(trace.trace_id, span.span_id or self._draw(64) or 1, False, _SAMPLED),
            parent=parent,
            resource=self._resource,
            attributes=span.attributes,
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(StatusCode.UNSET),
            start_time=round((span.began + self._ago) * 1e9),
            end_time=round((span.ended + self._ago) * 1e9),
            instrumentation_scope=_SCOPE,
        )

    def send(self, spans: Sequence[ReadableSpan]) -> bool:
        """Send; whether the collector took them."""
        return self._exporter.export(spans) is SpanExportResult.SUCCESS

    def close(self) -> None:
        """Send nothing more."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
