"""The short way and the long way give the same bytes."""

from __future__ import annotations

import json
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataplane.pd import members
from dataplane.pd.members import Members
from dataplane.splice import with_members

MEMBERS = Members(("put", "new"), {"present": "3"}, ("out", "gone"))
VALUES = {"put": "1", "new": '{"a":[2]}'}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(['"put"', "out", "\\u0070ut"])
names = st.sampled_from(["put", "new", "present", "out", "gone", "a", "b"]) | texts
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=10,
)
spaces = st.text(" \t\n\r", max_size=2)


def long_way(body: bytes) -> bytes | None:
    try:
        return with_members(body, VALUES, where_present={"present": "3"}, without=("out", "gone"))
    except ValueError:
        return None


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """An object as anybody may write it: names twice, white space everywhere, letters escaped."""

    def name() -> str:
        text = draw(names)
        is_odd = text.isalpha() and text.isascii() and draw(st.sampled_from([False] * 9 + [True]))
        return f'"\\u00{ord(text[0]):02x}{text[1:]}"' if is_odd else json.dumps(text, ensure_ascii=draw(st.booleans()))

    def space() -> str:
        return draw(spaces)

    found = [
        f"{space()}{name()}{space()}:{space()}{json.dumps(draw(values), ensure_ascii=draw(st.booleans()))}{space()}"
        for _ in range(draw(st.integers(0, 5)))
    ]
    return f"{draw(st.sampled_from(['', '', '', ' ']))}{{{','.join(found) or space()}}}{space()}".encode()


@given(bodies())
@example(b'{"a":{"put":2},"put":3}')
@example(b'{"\\u0070ut":3,"a":{"put":4}}')
@example(b'{"a":"x\\"put","put":3}')
@example(b'{"out":1,"gone":2}')
@example(b'{"a":1 , "out":1 ,"gone":2 }')
@settings(max_examples=100)
def test_the_result_is_that_of_the_long_way(body: bytes) -> None:
    expected = long_way(body)
    if expected is None:
        with pytest.raises(ValueError):
            MEMBERS.edited(body, VALUES)
    else:
        assert MEMBERS.edited(body, VALUES) == MEMBERS.edited(bytearray(body), VALUES) == expected


@pytest.mark.parametrize(
    ("body", "result"),
    [
        (b'{"model":"m","prompt":"p"}', b'{"put":1,"new":{"a":[2]},"model":"m","prompt":"p"}'),
        (b'{"model": "m", "put": 7, "new": null}', b'{"model": "m", "put": 1, "new": {"a":[2]}}'),
        (b'{"put":7,"a":"\xc3\xa9","present":[1]}', b'{"new":{"a":[2]},"put":1,"a":"\xc3\xa9","present":3}'),
        (b'{"out":{"b":[1]}, "put":7,"gone":2,"a":1}', b'{"new":{"a":[2]},"put":1,"a":1}'),
        (b'{"a":1, "out":{"b":[1]}}', b'{"put":1,"new":{"a":[2]},"a":1}'),
    ],
)
def test_plain_bodies_go_the_short_way(body: bytes, result: bytes) -> None:
    with patch.object(members, "with_members", side_effect=AssertionError):
        assert MEMBERS.edited(body, VALUES) == result


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"put"', b'{"put":1', b'{"a":1 "put":2}', b"\xff{"])
def test_what_is_no_json_object_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        MEMBERS.edited(body, VALUES)
