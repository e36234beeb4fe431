"""The metrics' catalog: names that fit together, and labels that clients can not grow."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalog import (
    COUNTERS,
    HISTOGRAMS,
    KNOWN_METHODS,
    KNOWN_ROUTES,
    LATENCY_BUCKETS,
    OTHER,
    method_label,
    route_label,
)

METRICS = (*COUNTERS, *HISTOGRAMS)


@given(st.text() | st.from_regex(r"/v1/[a-z/]{0,20}", fullmatch=True))
def test_any_path_has_one_of_a_few_labels(path: str) -> None:
    label = route_label(path)
    assert label in KNOWN_ROUTES | {OTHER}
    assert label == path or path not in KNOWN_ROUTES


@pytest.mark.parametrize("path", ["", "/", "/V1/models", "/v1/models/", "/v1/models/x", "//health", "other"])
def test_what_only_looks_like_a_route_is_another(path: str) -> None:
    assert route_label(path) == OTHER


def test_known_routes_are_their_own_labels() -> None:
    assert {route_label(path) for path in KNOWN_ROUTES} == KNOWN_ROUTES
    assert OTHER not in KNOWN_ROUTES
    assert len(KNOWN_ROUTES) < 50


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
