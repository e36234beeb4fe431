"""The table of routes: one row for each path, and nothing that clients can grow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.catalog import OTHER
from shared.routes import ROUTES, UNKNOWN, Route, named_in, route_of

PATHS = {route.path for route in ROUTES}


@given(st.text() | st.from_regex(r"/v1/(responses|workers|models)?[a-z/]{0,20}", fullmatch=True))
def test_any_path_has_one_of_a_few_labels(path: str) -> None:
    label = route_of(path).path
    assert label in PATHS | {OTHER}
    assert label == path or path not in PATHS


@pytest.mark.parametrize(
    "path",
    ["", "/V1/models", "/v1/modelsx", "//health", "other", "/v1/responses/", "/v1/responses/a/b",
     "/v1/responses//cancel", "/v1/responses/a/cancel/", "/workersx"],
)  # fmt: skip
def test_what_only_looks_like_a_route_is_unknown(path: str) -> None:
    assert route_of(path) is UNKNOWN


@pytest.mark.parametrize(
    ("path", "row", "name"),
    [
        ("/v1/responses/resp_1", "/v1/responses/{id}", "resp_1"),
        ("/v1/responses/cancel", "/v1/responses/{id}", "cancel"),
        ("/v1/responses/resp_1/cancel", "/v1/responses/{id}/cancel", "resp_1"),
        ("/workers/http://a:1", "/workers/{url...}", "http://a:1"),
        ("/workers/", "/workers/{url...}", ""),
        ("/v1/responses", "/v1/responses", ""),
        ("/v1/models/org/m", "/v1/models/{id...}", "org/m"),
        ("/v1/models/", "/v1/models/{id...}", ""),
    ],
)
def test_a_part_that_varies_is_named(path: str, row: str, name: str) -> None:
    route = route_of(path)
    assert route.path == row
    assert named_in(path, route) == name


def test_rows_are_different_and_few() -> None:
    assert len(PATHS) == len(ROUTES) < 100
    assert OTHER not in PATHS


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_rows_make_sense(route: Route) -> None:
    assert route.methods
    assert route.path.startswith("/")
    # What an engine works for is never taken for free to repeat, and only such work is handed over.
    assert not (route.generates and route.is_computed)
    assert not route.hands_over or route.generates
    assert not route.tells_load or route.generates
    assert not route.finds or "{" in route.path
    assert route.owner == "worker" or not (route.generates or route.model)
    assert (route.dialect == "anthropic") == route.path.startswith("/v1/messages")


def test_generation_is_what_clients_pay_for() -> None:
    assert {"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/inference/v1/generate"} <= {
        route.path for route in ROUTES if route.generates
    }
