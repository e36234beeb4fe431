"""Members go, all other bytes stay."""

from __future__ import annotations

import codecs
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.splice import with_members, without_members

NAMES = {"k": None, "x": {"k": None, "y": {"k": None}}}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(["k", "x", "y"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def cleaned(value: object, names: object) -> object:
    if not isinstance(value, dict) or not isinstance(names, dict):
        return value
    return {
        key: cleaned(inner, names.get(key)) for key, inner in value.items() if not (key in names and names[key] is None)
    }


@given(st.dictionaries(texts, values, max_size=6), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_what_is_left_means_what_was_left(body: dict[str, object], indent: int | str | None, ascii_only: bool) -> None:
    text = json.dumps(body, indent=indent, ensure_ascii=ascii_only)
    left = without_members(text.encode(), NAMES)
    assert repr(json.loads(left)) == repr(cleaned(body, NAMES))


@given(st.dictionaries(texts.filter(lambda key: key not in NAMES), values, max_size=6))
def test_a_body_without_them_stays_as_it_is(body: dict[str, object]) -> None:
    text = json.dumps(body, ensure_ascii=False).encode()
    assert without_members(text, NAMES) == text


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ('{"k":1}', "{}"),
        ('{ "k" : 1 }', "{  }"),
        ('{"k":1,"a":2}', '{"a":2}'),
        ('{"a":2,"k":1}', '{"a":2}'),
        ('{"a":2 , "k":1 }', '{"a":2 }'),
        ('{"a":2,"k":1,"b":3}', '{"a":2,"b":3}'),
        ('{"a":2,"k":1,"k":3}', '{"a":2}'),
        ('{"k":1,"k":2,"a":2,"k":{"k":[1,"}"]},"b":0,"k":9}', '{"a":2,"b":0}'),
        ('{"\\u006b":1,"a":2}', '{"a":2}'),
        (' \n{"a": {"k": 1}, "k": [1, {"k": 2}]}', ' \n{"a": {"k": 1}}'),
        ('{"x": {"k": 1, "z": "é"}, "n": NaN}', '{"x": {"z": "é"}, "n": NaN}'),
        ('{"x": {"k": 1}, "x": {"y": {"k": 2, "q": 0}}}', '{"x": {}, "x": {"y": {"q": 0}}}'),
        ('{"x": "k", "k": "\\ud800"}', '{"x": "k"}'),
    ],
)
@pytest.mark.parametrize(
    ("bom", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (b"", "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
    ],
)
def test_every_other_byte_stays(body: str, left: str, bom: bytes, encoding: str) -> None:
    assert without_members(bom + body.encode(encoding), NAMES) == bom + left.encode(encoding)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"k"', b'{"k":1', b'{"k":1,', b'{"k" 1}', b'{"a":1 "k":2}', b"\xff{"]
)
def test_what_is_no_json_object_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        without_members(body, NAMES)


# --- putting in ------------------------------------------------------------------------------------------


@given(st.dictionaries(texts, values, max_size=6), st.sampled_from([None, 1, "\t"]))
def test_members_are_there_afterwards_and_all_others_as_before(
    body: dict[str, object], indent: int | str | None
) -> None:
    text = json.dumps(body, indent=indent).encode()
    found = json.loads(with_members(text, {"x": "[1]", "new": "2"}, where_present={"y": "3"}, without="k"))
    expected = {key: value for key, value in body.items() if key != "k"} | {"x": [1], "new": 2}
    if "y" in body:
        expected["y"] = 3
    assert repr(sorted(found.items())) == repr(sorted(expected.items()))


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ("{}", '{"v":1}'),
        ("{ }", '{"v":1 }'),
        ('{"a":"\\u00e9"}', '{"v":1,"a":"\\u00e9"}'),
        ('{"a":1, "v" : [1, "}"] , "v":2}', '{"a":1, "v" : 1 , "v":1}'),
        ('{"out":1}', '{"v":1}'),
        ('{"a":0,"out":1}', '{"v":1,"a":0}'),
        ('{"out":1, "v":2, "out":3}', '{"v":1}'),
        (' {"p":5,"out":{"p":7}}', ' {"v":1,"p":9}'),
    ],
)
def test_every_other_byte_stays_where_some_are_put_in(body: str, result: str) -> None:
    assert with_members(body.encode(), {"v": "1"}, where_present={"p": "9"}, without=["out"]).decode() == result
