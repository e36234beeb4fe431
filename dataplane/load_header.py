"""An engine's load in the head of its answers: what asks vLLM for it, and how it is read and taken out again.

vLLM adds it to answers of chat and text completions that are not streamed (its `orca_metrics.py`; the format is Envoy's
ORCA), if the request has

    endpoint-load-metrics-format: TEXT

and the answer then has, with each name once per data-parallel engine:

    endpoint-load-metrics: TEXT named_metrics.num_requests_waiting=0.0, named_metrics.kv_cache_usage_perc=0.05

It is as fresh as a figure can be, but not free: vLLM collects its whole metrics page for it (1.3 ms of its server's
CPU, measured with a registry of the same series) and logs a line. So a worker is asked only when what the plane knows
of its load is older than `ASK_AFTER`: seldom where workers are read twice a second, more often where a large fleet is
read less often.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from shared.routes import Route

FORMAT = b"endpoint-load-metrics-format"
FIGURES = b"endpoint-load-metrics"
ASKING = b"%b: TEXT\r\n" % FORMAT
ASK_AFTER = 0.5
"""Seconds: as fresh as reading `/metrics` at its own pace is."""

_figure = re.compile(rb"named_metrics\.(num_requests_waiting|kv_cache_usage_perc)=([\d.eE+-]{1,32})(?=,|$)").findall


class QueueFigures(NamedTuple):
    """Requests waiting, summed over engines; the fullest engine's KV cache in use (0..1)."""

    waiting: float
    kv_usage: float


def may_ask(route: Route, fields: Mapping[bytes, bytes]) -> bool:
    """Whether the router may ask with a request: vLLM would answer, and the client has not asked by itself."""
    return route.tells_load and FORMAT not in fields


def taken_out(headers: list[tuple[bytes, bytes]]) -> QueueFigures | None:
    """Take the figures out of an answer's fields and return them; None when there are none that can be read."""
    for name, value in headers:
        if name == FIGURES:
            headers[:] = [field for field in headers if field[0] != FIGURES]
            return read(value)
    return None


def read(value: bytes) -> QueueFigures | None:
    """Return the figures of a field's value in the format TEXT; None when one of the two is missing."""
    found: dict[bytes, list[float]] = {}
    for name, text in _figure(value):
        try:
            figure = float(text)
        except ValueError:
            return None
        if not math.isfinite(figure) or figure < 0:
            return None
        found.setdefault(name, []).append(figure)
    waiting, usage = found.get(b"num_requests_waiting"), found.get(b"kv_cache_usage_perc")
    return QueueFigures(sum(waiting), min(1.0, max(usage))) if waiting and usage else None
