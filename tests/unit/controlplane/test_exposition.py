"""Our writer gives what prometheus-client's own gives, byte for byte."""

from __future__ import annotations

import asyncio
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

from controlplane.exposition import page

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
    return [counter, gauge, histogram, summary, info, GaugeMetricFamily("alone", text, value)]


@settings(max_examples=100, deadline=None)
@given(label=texts, text=texts, value=values, openmetrics=st.booleans())
def test_the_bytes_are_the_librarys(label: str, text: str, value: float, openmetrics: bool) -> None:
    given_families = families(label, text, value)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given(given_families))
    expected = generate_openmetrics(registry) if openmetrics else generate_latest(registry)  # type: ignore[no-untyped-call]
    assert asyncio.run(page(given_families, openmetrics=openmetrics)) == expected


def test_others_have_their_turn_between_families() -> None:
    async def run() -> int:
        turns = 0
        writing = asyncio.create_task(page(families("a", "t", 1.0), openmetrics=False))
        while not writing.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(run()) >= 6
