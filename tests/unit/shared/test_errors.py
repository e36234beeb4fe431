"""The errors that the router answers itself: OpenAI's shape, stable codes, and a text that helps."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import (
    CLIENT,
    ROUTER,
    WORKER,
    RouterError,
    bad_answer,
    bad_request,
    error_body,
    error_event,
    internal,
    method_not_allowed,
    model_not_found,
    no_worker,
    out_of_descriptors,
    payload_too_large,
    unreachable,
    worker_timeout,
)

EVERY = [
    (model_not_found("m", ("a", "b")), 404, "model_not_found", CLIENT),
    (bad_request("has two bodies"), 400, "bad_request", CLIENT),
    (method_not_allowed("/health", "GET, HEAD"), 405, "method_not_allowed", CLIENT),
    (internal(), 500, "internal_error", ROUTER),
    (no_worker("No worker is ready."), 503, "no_worker_available", ROUTER),
    (payload_too_large(5), 413, "payload_too_large", CLIENT),
    (out_of_descriptors(), 503, "out_of_descriptors", ROUTER),
    (unreachable(3), 503, "workers_unreachable", WORKER),
    (bad_answer("broke off"), 502, "bad_worker_answer", WORKER),
    (worker_timeout(1800.0), 504, "worker_timeout", WORKER),
]


@pytest.mark.parametrize(("error", "status", "code", "side"), EVERY)
def test_status_code_and_side_are_stable(error: RouterError, status: int, code: str, side: str) -> None:
    assert (error.status, error.code, error.side) == (status, code, side)
    body = json.loads(error_body(error, "req-1"))
    assert body == {
        "error": {
            "message": f"{error.message} (request id: req-1)",
            "type": side,
            "param": error.param,
            "code": code,
        }
    }
    assert str(error) == error.message


@pytest.mark.parametrize(("error", "status", "code", "side"), EVERY)
def test_anthropics_clients_get_their_own_shape(error: RouterError, status: int, code: str, side: str) -> None:
    body = json.loads(error_body(error, "req-1", "anthropic"))
    kind = body["error"].pop("type")
    assert body == {
        "type": "error",
        "error": {"message": f"{error.message} (request id: req-1)"},
        "request_id": "req-1",
    }
    assert (kind == "api_error") == (status in (500, 502))
    assert error_event(error, "req-1", "anthropic") == b"event: error\ndata: %b\n\n" % error_body(
        error, "req-1", "anthropic"
    )


def test_codes_are_different() -> None:
    assert len({code for _, _, code, _ in EVERY}) == len(EVERY)


@pytest.mark.parametrize(("error", "status", "code", "side"), EVERY)
def test_what_passes_by_itself_says_when_to_try_again(error: RouterError, status: int, code: str, side: str) -> None:
    assert error.retry_after == (1 if status == 503 else None)
    assert error.close == (status in (400, 413) or code == "out_of_descriptors")
    assert error.allow == ("GET, HEAD" if status == 405 else None)


def test_an_unknown_model_is_named_and_so_are_the_known_ones() -> None:
    error = model_not_found("nope", ("a", "b"))
    assert "`nope`" in error.message
    assert "a, b" in error.message
    assert error.param == "model"
    assert "GET /v1/models" in model_not_found("nope", ()).message


@given(st.text(max_size=5000), st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=500))
def test_the_text_stays_short_whatever_a_client_asks_for(model: str, known: list[str]) -> None:
    error = model_not_found(model, tuple(known))
    assert len(error.message) < 700


def test_a_long_name_is_cut_and_a_short_one_is_not() -> None:
    assert f"`{'x' * 200}`" in model_not_found("x" * 200, ()).message
    assert f"`{'x' * 200}...`" in model_not_found("x" * 201, ()).message


def test_figures_are_in_the_text() -> None:
    assert "12345 bytes" in payload_too_large(12345).message
    assert "in 4 attempts" in unreachable(4).message
    assert "within 0.5 s" in worker_timeout(0.5).message
    assert "within 1800 s" in worker_timeout(1800.0).message
    assert "answer broke off." in bad_answer("broke off").message


def test_the_fleet_is_blamed_when_none_of_it_is_ready_and_the_router_when_it_has_none() -> None:
    for error, _, _, side in EVERY:
        assert error.blamed == {CLIENT: "client", ROUTER: "router", WORKER: "worker"}[side] or error.status == 503
    assert no_worker("No worker is ready.").blamed == "worker"
    assert no_worker("The router is stopping.", blamed="router").blamed == "router"


def test_the_worker_is_named_when_clients_may_know() -> None:
    error = bad_answer("broke off")
    error.worker = "http://w:1"
    text = json.loads(error_body(error, "x"))["error"]["message"]
    assert text == "The worker's answer broke off. Try again. Worker: http://w:1. (request id: x)"


@given(st.binary(max_size=50))
def test_the_requests_id_may_be_any_bytes(request_id: bytes) -> None:
    text = request_id.decode("latin-1")
    assert json.loads(error_body(internal(), text))["error"]["message"].endswith(f"(request id: {text})")
