"""Our writer gives what prometheus-client's own gives, byte for byte."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from controlplane.exposition import PIECE, page
from controlplane.metric_rows import MetricRows, counters, gauges

texts = st.text(max_size=12)
values = st.one_of(st.integers(0, 2**60), st.floats(allow_nan=False))


class Given(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def families(label: str, text: str, value: float) -> list[Metric]:
    counter = CounterMetricFamily("some_things", text, labels=("worker", "cause"))
    counter.add_metric((label, "b"), value)
    gauge = GaugeMetricFamily("a_gauge", text, labels=("worker",))
    gauge.add_metric((label,), value)
    histogram = HistogramMetricFamily("a_histogram", text, labels=("route", "model"))
    one, other = Exemplar({"trace_id": label}, value, 1700000000.125), Exemplar({}, value)
    histogram.add_metric(("x", label), [("0.5", 1.0, one), ("1.0", 1.0), ("+Inf", 2.0, other)], value)
    summary = SummaryMetricFamily("a_summary", text, labels=("worker",))
    summary.add_metric((label,), 3, value)
    info = InfoMetricFamily("build", text, value={"version": label})
    alone = GaugeMetricFamily("alone", text, value)
    rows = [
        counters("row_counter", text, ("worker", "cause"), [((label, "b"), value), (("a", label), 1)]),
        counters("row_alone", text, (), [((), value)]),
        gauges("row_gauge", text, ("worker",), [((label,), value)]),
        MetricRows("summary", "row_summary", text, ("worker",), [("_count", (label,), 3), ("_sum", (label,), value)]),
    ]
    return [counter, gauge, histogram, summary, info, alone, *rows]


@settings(max_examples=100, deadline=None)
@given(label=texts, text=texts, value=values, openmetrics=st.booleans())
def test_the_bytes_are_the_librarys(label: str, text: str, value: float, openmetrics: bool) -> None:
    given_families = families(label, text, value)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given(given_families))
    expected = generate_openmetrics(registry) if openmetrics else generate_latest(registry)  # type: ignore[no-untyped-call]
    assert asyncio.run(page(given_families, openmetrics=openmetrics)) == expected


def test_others_have_their_turn_where_it_has_taken_long() -> None:
    async def turns(*, seconds: float) -> int:
        """How many they have when each family takes so long."""
        times = itertools.count()
        taken, given_families = 0, families("a", "t", 1.0)
        writing = asyncio.create_task(page(given_families, openmetrics=False, clock=lambda: next(times) * seconds))
        while not writing.done():
            taken += 1
            await asyncio.sleep(0)
        return taken

    assert asyncio.run(turns(seconds=2 * PIECE)) >= 10
    assert asyncio.run(turns(seconds=PIECE / 100)) <= 3
