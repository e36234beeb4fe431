"""Families with a series for each worker, as plain rows.

prometheus-client makes an object with a dictionary for each series, which costs more than writing its line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

Row = tuple[str, tuple[str, ...], float]
"""What follows the family's name, the labels' values, the value."""


class MetricRows(Metric):
    """A counter, gauge or summary. `samples` are made when somebody asks for them; `exposition` writes rows."""

    def __init__(
        self,
        kind: Literal["counter", "gauge", "summary"],
        name: str,
        about: str,
        labels: tuple[str, ...],
        rows: Iterable[Row],
    ) -> None:
        # As the library's families have it.
        self._labelnames = labels
        self.rows = list(rows)
        super().__init__(name, about, kind)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels' names, in the order of their values."""
        return self._labelnames

    @property
    def samples(self) -> list[Sample]:
        """The rows as prometheus-client has them."""
        return [
            Sample(self.name + suffix, dict(zip(self.labels, values, strict=True)), value)
            for suffix, values, value in self.rows
        ]

    @samples.setter
    def samples(self, samples: list[Sample]) -> None:
        # The library's constructor sets it, to nothing.
        pass


def counters(name: str, about: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    """Return a counter's family, of labels' values and value."""
    return MetricRows("counter", name, about, labels, [("_total", key, value) for key, value in values])


def gauges(name: str, about: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    """Return a gauge's family, likewise."""
    return MetricRows("gauge", name, about, labels, [("", key, value) for key, value in values])
