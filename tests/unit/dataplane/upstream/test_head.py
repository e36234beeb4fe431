"""Heads towards workers: what is taken out, what is set, and that all the rest stays as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.upstream.head import HOP_BY_HOP, connection_tokens, field_lines, request_line, with_length

Field = tuple[bytes, bytes]

# RFC 9110 section 7.6.1, and the one of RFC 9112 (transfer-encoding) beside what old software sends.
TAKEN_OUT = [
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
]
PASSED = [b"accept", b"authorization", b"content-type", b"cookie", b"x-custom", b"traceparent", b"via"]

tokens = st.sampled_from(PASSED)
field_values = st.sampled_from([b"1", b"a, b", b"", b"\xe4", b"close", b"chunked"])


def sent(headers: list[Field], *, method: str = "POST", length: int = 3) -> list[Field]:
    """Return the fields of a head, in their order."""
    lines = field_lines(headers, b"the-id", method, length)
    assert lines.endswith(b"\r\n\r\n")
    *fields, empty, rest = lines.split(b"\r\n")
    assert (empty, rest) == (b"", b"")
    pairs = [field.split(b": ", 1) for field in fields]
    return [(name, value) for name, value in pairs]


OURS: list[Field] = [(b"x-request-id", b"the-id"), (b"content-length", b"3")]


@pytest.mark.parametrize("name", TAKEN_OUT)
def test_hop_by_hop_fields_are_taken_out(name: bytes) -> None:
    assert name in HOP_BY_HOP
    assert sent([(b"a", b"1"), (name, b"close"), (b"b", b"2")]) == [(b"a", b"1"), (b"b", b"2"), *OURS]


def test_nothing_else_is_hop_by_hop() -> None:
    assert sorted(TAKEN_OUT) == sorted(HOP_BY_HOP)


@pytest.mark.parametrize("name", [b"host", b"expect", b"content-length", b"x-request-id"])
def test_fields_that_the_router_sets_itself_are_replaced(name: bytes) -> None:
    assert sent([(name, b"99"), (name, b"98")]) == OURS


@given(st.lists(st.tuples(tokens, field_values), max_size=10), st.integers(0, 10**9))
def test_the_lines_for_another_body_are_those_with_its_length(headers: list[Field], length: int) -> None:
    assert with_length(field_lines(headers, b"the-id", "POST", 3), length) == field_lines(
        headers, b"the-id", "POST", length
    )


@given(st.lists(st.tuples(tokens, field_values), max_size=10))
def test_all_other_fields_pass_in_their_order_repeated_ones_too(headers: list[Field]) -> None:
    assert sent(headers) == [*headers, *OURS]


@pytest.mark.parametrize(
    "value", [b"x-custom", b"X-Custom", b"close, x-custom", b"x-custom,keep-alive", b" X-CUSTOM , close", b",,x-custom"]
)
def test_fields_that_connection_names_are_taken_out(value: bytes) -> None:
    headers = [(b"x-custom", b"1"), (b"connection", value), (b"accept", b"2"), (b"x-custom", b"3")]
    assert sent(headers) == [(b"accept", b"2"), *OURS]


def test_every_connection_field_counts() -> None:
    headers = [(b"connection", b"accept"), (b"accept", b"1"), (b"via", b"2"), (b"connection", b"close, via")]
    assert sent(headers) == OURS


@pytest.mark.parametrize("value", [b"close", b"keep-alive", b"Keep-Alive", b"CLOSE"])
def test_a_plain_connection_field_names_nothing(value: bytes) -> None:
    assert sent([(b"connection", value), (b"x-custom", b"1")]) == [(b"x-custom", b"1"), *OURS]


def test_connection_tokens() -> None:
    assert connection_tokens([b"a, B ,c", b"D"]) == {b"a", b"b", b"c", b"d"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE", "POST", "PUT", "PATCH", "MADEUP"])
@pytest.mark.parametrize("length", [0, 7])
@pytest.mark.parametrize("declared", [True, False])
def test_the_length_is_that_of_the_body_in_hand(method: str, length: int, declared: bool) -> None:
    """RFC 9110 section 8.6: a method that expects a body tells its length, 0 too; others only a real one."""
    headers = [(b"content-length", b"%d" % length)] if declared else []
    lengths = [value for name, value in sent(headers, method=method, length=length) if name == b"content-length"]
    silent = length == 0 and method in ("GET", "HEAD", "DELETE", "OPTIONS", "TRACE")
    assert lengths == ([] if silent else [b"%d" % length])


def test_a_chunked_body_is_sent_with_its_length() -> None:
    assert sent([(b"transfer-encoding", b"chunked")]) == OURS


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        (b"/v1/models", b"", b"GET /v1/models HTTP/1.1\r\nhost: "),
        (b"/a", b"b=c&d", b"GET /a?b=c&d HTTP/1.1\r\nhost: "),
        (b"/a%20b/%2F", b"x=%26", b"GET /a%20b/%2F?x=%26 HTTP/1.1\r\nhost: "),
        (b"*", b"", b"GET * HTTP/1.1\r\nhost: "),
    ],
)
def test_the_target_is_passed_as_it_came(path: bytes, query: bytes, expected: bytes) -> None:
    assert request_line("GET", path, query) == expected


def test_the_workers_key_takes_the_place_of_the_clients() -> None:
    headers = [(b"authorization", b"Bearer mine"), (b"a", b"1"), (b"authorization", b"Basic x")]
    lines = field_lines(headers, b"id", "GET", 0, "Bearer theirs")
    assert lines == b"a: 1\r\nauthorization: Bearer theirs\r\nx-request-id: id\r\n\r\n"
    # One that could not be read is none, and the client's must not go there either.
    assert field_lines(headers, b"id", "GET", 0, "") == b"a: 1\r\nx-request-id: id\r\n\r\n"
    assert b"Bearer mine" in field_lines(headers, b"id", "GET", 0)
