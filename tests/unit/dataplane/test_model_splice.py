"""Another model's name in a body: that one value changes, and not one byte beside it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.model_splice import with_model
from shared.errors import RouterError

NEW = '"org/new"'


def test_g_model_3_bytes_beside_the_name_stay() -> None:
    body = b'{ "messages" : [ {"content":"\\u00e9 \xc3\xa9"} ],\n\t"model" :\t"a/b" , "x":1.50}'
    assert with_model(body, "a/b", NEW) == body.replace(b'"a/b"', b'"org/new"')
    assert with_model(bytearray(body), "a/b", NEW) == body.replace(b'"a/b"', b'"org/new"')


@pytest.mark.parametrize(
    "body",
    [
        '{"model":"a","tools":[{"model":{"type":"string"}}],"prompt":"x"}',
        '{"metadata":{"model":"a"},"model":"a"}',
        '{"model":"a","metadata":{"model":"a"}}',
        '{"prompt":"\\"model\\":\\"a\\"","model":"a"}',
        '{"model":"a","prompt":"\\"model\\":\\"a\\""}',
        '{"mod\\u0065l":"a","prompt":1}',
        '{"model":"\\u0061"}',
        '{"x":[{"model":"a"},{"model":"a"},{"model":"a"},{"model":"a"},{"model":"a"},{"model":"a"},{"model":"a"},'
        '{"model":"a"},{"model":"a"}],"model":"a"}',
        '{"prompt":"' + "x" * 1000 + '","model":"a","y":{"model":"a"}}',
        '\n {"model":"a"}',
    ],
)
def test_the_member_of_the_object_itself_is_the_one(body: str) -> None:
    spliced = json.loads(with_model(body.encode(), "a", NEW))
    assert spliced == {**json.loads(body), "model": "org/new"}


def test_names_of_any_script() -> None:
    for body in ('{"model":"größe"}'.encode(), b'{"model":"gr\\u00f6\\u00dfe"}', b'{"model":"gr\\u00f6\xc3\x9fe"}'):
        assert json.loads(with_model(body, "größe", json.dumps("ñ"))) == {"model": "ñ"}


def test_a_name_that_stands_twice() -> None:
    assert json.loads(with_model(b'{"model":"b","model":"a"}', "a", NEW)) == {"model": "org/new"}


@pytest.mark.parametrize("body", ['{"model":"a"}'.encode("utf-16"), b'\xef\xbb\xbf{"mod\\u0065l":"a"}'])
def test_what_can_not_be_spliced_is_refused(body: bytes) -> None:
    with pytest.raises(RouterError) as refused:
        with_model(body, "a", NEW)
    assert (refused.value.status, refused.value.code) == (400, "unreadable_body")


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**50), 2**50) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.just("model"), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(names, values, max_size=4),
    names,
    names,
    st.booleans(),
    st.integers(0, 4),
    st.sampled_from([None, 1]),
)
def test_g_model_3_any_body(
    members: dict[str, Any], old: str, new: str, ascii_only: bool, place: int, indent: int | None
) -> None:
    members.pop("model", None)
    items = list(members.items())
    items.insert(place, ("model", old))
    body = json.dumps(dict(items), ensure_ascii=ascii_only, indent=indent).encode()
    spliced = with_model(body, old, json.dumps(new))
    assert json.loads(spliced) == {**dict(items), "model": new}
    before, after = json.dumps(old, ensure_ascii=ascii_only).encode(), json.dumps(new).encode()
    places = [at for at in range(len(body)) if body.startswith(before, at)]
    assert spliced in [body[:at] + after + body[at + len(before) :] for at in places]
