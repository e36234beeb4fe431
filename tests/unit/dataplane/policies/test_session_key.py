"""Which session a request belongs to."""

from __future__ import annotations

import json

import pytest

from dataplane.policies.conformance import SampleRequest
from dataplane.policies.session_key import MAX_KEY, session_key
from shared.config import StartConfig

NAMES = tuple(name.encode() for name in StartConfig().session_headers)
BODY = {"session_params": {"session_id": "p"}, "user": "u", "session_id": "s", "user_id": "i"}


def key(fields: dict[bytes, bytes], body: object = None) -> tuple[str, bytes] | None:
    return session_key(SampleRequest(fields=fields, body=json.dumps(body).encode()), NAMES)


def test_the_heads_fields_come_first_in_their_order() -> None:
    fields = {b"x-tenant-id": b"t", b"x-session-id": b"s", b"x-user-id": b"u", b"x-request-id": b"r"}
    for name, value in ((b"x-session-id", b"s"), (b"x-user-id", b"u"), (b"x-tenant-id", b"t")):
        assert key(fields, BODY) == (name.decode(), value)
        del fields[name]
    # A request's own id tells no session, and an empty field tells nothing.
    assert key(fields | {b"x-session-id": b" "}, BODY) == ("session_params.session_id", b"p")


def test_ids_of_requests_count_when_they_are_asked_for() -> None:
    request = SampleRequest(fields={b"x-request-id": b"r"})
    assert session_key(request, (*NAMES, b"x-request-id")) == ("x-request-id", b"r")


def test_the_bodys_keys_have_their_order_too() -> None:
    body: dict[str, object] = dict(BODY)
    for name, source, value in (
        ("session_params", "session_params.session_id", b"p"),
        ("user", "user", b"u"),
        ("session_id", "session_id", b"s"),
        ("user_id", "user_id", b"i"),
    ):
        assert key({}, body) == (source, value)
        del body[name]
    assert key({}, body) is None


def test_the_body_is_read_as_json_and_not_searched() -> None:
    assert key({}, {"prompt": '"user": "x"'}) is None
    assert key({}, {"metadata": {"user": "x"}}) is None


@pytest.mark.parametrize("value", [None, "", True, 1.5, [], {}, ["a"]])
def test_what_is_no_name_is_passed_over(value: object) -> None:
    assert key({}, {"user": value, "user_id": 7}) == ("user_id", b"7")
    assert key({}, {"session_params": value, "user_id": 7}) == ("user_id", b"7")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"user": "\\ud800"}', b"{" * 5000])
def test_an_odd_body_tells_no_session(body: bytes) -> None:
    assert session_key(SampleRequest(body=body), NAMES) is None


def test_keys_are_bounded() -> None:
    found = key({b"x-session-id": b"x" * 100_000})
    assert found is not None
    assert len(found[1]) == MAX_KEY
