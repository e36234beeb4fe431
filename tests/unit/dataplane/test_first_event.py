"""Which first parts of a stream are an engine's error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.first_event import PREFIXES, early_error


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("500", 500),
        ("503", 503),
        ("429", 429),
        ('"503"', 503),
        ("null", 500),
        ('"oops"', 500),
        ("200", 500),
        ("99", 500),
    ],
)
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\n\ndata: [DONE]\n\n"])
def test_an_error_is_told_with_the_status_that_it_names(code: str, status: int, end: bytes) -> None:
    body = b'{"error": {"message": "KV load failed", "type": "InternalServerError", "param": null, "code": %b}}'
    body %= code.encode()
    assert early_error(b"data: " + body + end) == (status, body)


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b": keep-alive\n\n",
        b'data: {"id":"x","choices":[]}\n\n',
        b'data: {"error": {"code": 500',
        b'data: {"error": "text"}\n\n',
        b'data: {"errors": {"code": 500}}\n\n',
        b'data: {"error": {"code": [1]}}\n\n',
    ],
)
def test_anything_else_is_part_of_an_answer(part: bytes) -> None:
    assert early_error(part) is None


@given(st.sampled_from(PREFIXES), st.binary(max_size=40))
def test_any_bytes_at_all(prefix: bytes, rest: bytes) -> None:
    early_error(prefix + rest)
    early_error(rest)
