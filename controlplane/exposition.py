"""Writes metrics in Prometheus' text format and in OpenMetrics', family by family.

prometheus-client's own writers give the same bytes (a test holds ours to that), but take 60 and 100 ms for 500 workers,
in one piece, in which no table could be published. Here others have their turn every few milliseconds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

from prometheus_client.core import Exemplar, Metric
from prometheus_client.utils import floatToGoString

from controlplane.metric_rows import MetricRows

PIECE = 0.004
"""Seconds of work between two pauses. In each pause everybody else has a turn, which in a large fleet takes as long."""
_LONG = 8
"""Characters of a number from which on it may be one that Go writes otherwise than Python."""


def text_of(metric: Metric, *, openmetrics: bool) -> str:
    """Return a family (counter, gauge, histogram, summary or info) in the one format or the other."""
    name, kind = metric.name, metric.type
    if not openmetrics and kind == "counter":
        name += "_total"
    elif not openmetrics and kind == "info":
        name, kind = name + "_info", "gauge"
    about = metric.documentation.replace("\\", "\\\\").replace("\n", "\\n")
    if openmetrics:
        about = about.replace('"', '\\"')
    lines = _row_lines(metric) if isinstance(metric, MetricRows) else _lines(metric, openmetrics=openmetrics)
    return "".join((f"# HELP {name} {about}\n# TYPE {name} {kind}\n", *lines))


def _row_lines(family: MetricRows) -> list[str]:
    name, labels = family.name, family.labels
    return [f"{name}{suffix}{_told(labels, values)} {_number(value)}\n" for suffix, values, value in family.rows]


# The labels of a worker's series are the same in every family and on every page.
@lru_cache(1 << 15)
def _told(labels: tuple[str, ...], values: tuple[str, ...]) -> str:
    if not labels:
        return ""
    pairs = sorted(zip(labels, values, strict=True))
    return "{" + ",".join([f'{name}="{_escaped(value)}"' for name, value in pairs]) + "}"


def _lines(metric: Metric, *, openmetrics: bool) -> Iterator[str]:
    for sample in metric.samples:
        number = _number(sample.value)
        if openmetrics and sample.exemplar is not None:
            number += _exemplar(sample.exemplar)
        labels = sample.labels
        if labels:
            pairs = sorted(labels.items()) if len(labels) > 1 else labels.items()
            told = ",".join([f'{name}="{_escaped(value)}"' for name, value in pairs])
            yield f"{sample.name}{{{told}}} {number}\n"
        else:
            yield f"{sample.name} {number}\n"


def _number(value: float) -> str:
    number = repr(float(value))
    if len(number) > _LONG or number[-1] not in "0123456789":
        number = floatToGoString(value)  # type: ignore[no-untyped-call]
    return number


def _exemplar(exemplar: Exemplar) -> str:
    told = ",".join([f'{name}="{_escaped(value)}"' for name, value in sorted(exemplar.labels.items())])
    at = "" if exemplar.timestamp is None else f" {exemplar.timestamp}"
    return f" # {{{told}}} {_number(exemplar.value)}{at}"


def _escaped(value: str) -> str:
    if "\\" in value or '"' in value or "\n" in value:
        return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return value


async def page(
    families: Iterable[Metric], *, openmetrics: bool, clock: Callable[[], float] = time.perf_counter
) -> bytes:
    """Return all families, with a pause where `PIECE` has passed since the last one; `clock` is in seconds."""
    parts = []
    began = clock()
    for metric in families:
        parts.append(text_of(metric, openmetrics=openmetrics).encode())
        if clock() - began >= PIECE:
            await asyncio.sleep(0)
            began = clock()
    if openmetrics:
        parts.append(b"# EOF\n")
    return b"".join(parts)
