"""The metrics' catalog: names that fit together, and labels that clients can not grow."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from shared.catalog import (
    COUNTERS,
    HISTOGRAMS,
    KNOWN_METHODS,
    LATENCY_BUCKETS,
    OTHER,
    method_label,
)

METRICS = (*COUNTERS, *HISTOGRAMS)


@given(st.text())
def test_any_method_has_one_of_a_few_labels(method: str) -> None:
    assert method_label(method) in KNOWN_METHODS | {OTHER}


def test_known_methods_are_their_own_labels() -> None:
    assert {method_label(method) for method in KNOWN_METHODS} == KNOWN_METHODS
    assert method_label("get") == OTHER


def test_the_buckets_rise_and_the_last_one_is_implied() -> None:
    assert list(LATENCY_BUCKETS) == sorted(set(LATENCY_BUCKETS))
    assert LATENCY_BUCKETS[0] > 0
    assert LATENCY_BUCKETS[-1] != float("inf")


def test_names_are_unique_and_prometheus_takes_them() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert re.fullmatch(r"[a-z][a-z_]*", metric.name)
        assert not metric.name.startswith("routerctl")
        assert not metric.name.endswith("_total")
        assert metric.help.endswith(".")
        assert all(re.fullmatch(r"[a-z][a-z_]*", label) for label in metric.labels)
