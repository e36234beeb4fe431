"""`traceparent` is read and written as W3C's Trace Context has it."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.tracing.context import Parent, parse, trace_from

TRACE = 0x0AF7651916CD43DD8448EB211C80319C
SPAN = 0xB7AD6B7169203331
VALUE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (VALUE, Parent(TRACE, SPAN, True)),
        (VALUE[:-2] + b"00", Parent(TRACE, SPAN, False)),
        (VALUE[:-2] + b"03", Parent(TRACE, SPAN, True)),
        # A later version may have more.
        (b"cc" + VALUE[2:] + b"-what-the-future-will-be-like", Parent(TRACE, SPAN, True)),
        (VALUE + b"-more", None),
        (b"ff" + VALUE[2:], None),
        (b"cc" + VALUE[2:] + b".more", None),
        (VALUE.upper(), None),
        (VALUE.replace(b"0af7651916cd43dd8448eb211c80319c", b"0" * 32), None),
        (VALUE.replace(b"b7ad6b7169203331", b"0" * 16), None),
        (b"", None),
        (VALUE[:-1], None),
    ],
)
def test_a_field(value: bytes, expected: Parent | None) -> None:
    assert parse(value) == expected


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_none(value: bytes) -> None:
    found = parse(value)
    assert found is None or (0 < found.trace_id < 1 << 128 and 0 < found.span_id < 1 << 64)


def test_a_callers_trace_goes_on() -> None:
    trace = trace_from(Parent(TRACE, SPAN, True), random.Random(1))
    assert (trace.trace_id, trace.parent_id) == (TRACE, SPAN)
    assert trace.name == "0af7651916cd43dd8448eb211c80319c"


def test_each_attempt_tells_its_worker_a_span_of_its_own() -> None:
    trace = trace_from(None, random.Random(1))
    assert trace.trace_id
    assert trace.parent_id == 0
    lines = {trace.attempt().line for _ in range(3)}
    assert len(lines) == 3
    for line in lines:
        assert re.fullmatch(b"traceparent: 00-%032x-[0-9a-f]{16}-01\r\n" % trace.trace_id, line)
        found = parse(line.removeprefix(b"traceparent: ").strip())
        assert found is not None
        assert found.span_id != trace.span_id
