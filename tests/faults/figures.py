"""Measured delays, told briefly."""

from __future__ import annotations

import statistics


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def in_milliseconds(delays: list[float]) -> str:
    """Tell delays that are given in seconds."""
    shown = (percentile(delays, 50), percentile(delays, 99), max(delays))
    return "p50 {:.1f} ms, p99 {:.1f} ms, max {:.1f} ms".format(*(1000 * value for value in shown))
