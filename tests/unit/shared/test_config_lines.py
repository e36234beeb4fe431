from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config_lines import key_lines, line_of_text

KEYS = st.sampled_from(["a", "b-c", '"d e"', "'f#g'", '"h=i"', '"j]"'])
# Each looks like lines of another kind to who reads line by line only.
VALUES = st.sampled_from(
    [
        "1",
        '"# = ["',
        "'''\na = 1\n[b]\n'''",
        '"""\nx = "1" \\""""',
        '"""a""""',
        "[\n  1, # ]\n  2,\n]",
        "[ { a = 1 }, { a = 2 },\n ]",
        "{ a = [1,\n 2] }",
        "1979-05-27T07:32:00Z",
    ]
)
BLANKS = st.sampled_from(["", "\n", "# a = 1\n", "  # [a]\n\n", "\t\n"])


@given(st.lists(st.tuples(BLANKS, KEYS, VALUES, st.booleans()), unique_by=lambda item: item[1]))
def test_each_key_is_found_on_its_line(items: list[tuple[str, str, str, bool]]) -> None:
    text, expected = "", {}
    for blank, key, value, is_table in items:
        text += blank
        name = key.strip("\"'")
        expected[name] = text.count("\n") + 1
        text += f" [{key}] # [b]\nx = {value}\n" if is_table else f"{key} = {value} # a = 1\n"
        if is_table:
            break
    content: dict[str, Any] = tomllib.loads(text)
    lines = key_lines(text)
    assert {path[0] for path in lines} == set(content)
    assert {path[0]: line for path, line in lines.items() if len(path) == 1} == expected


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("\n[a.b]\n\nc = 1\n", ("a",), 2),
        ("\n[a.b]\n\nc = 1\n", ("a", "b", "c"), 4),
        ("a.b.c = 1\na.d = 2", ("a", "d"), 2),
        ("[[a]]\nx = 1\n[[a]]\nx = 2\n", ("a", "0", "x"), 2),
        ("[[a]]\nx = 1\n[[a]]\nx = 2\n", ("a", "1", "x"), 4),
        ("[[a]]\n[[a]]\n[a.b]\nx = 2\n", ("a", "1", "b", "x"), 4),
        ("[[a]]\nx = 1\n[[a]]\nx = 2\n", ("a",), 1),
        ("[ a . 'b c' ]\n'd.e' = 1", ("a", "b c", "d.e"), 2),
    ],
)
def test_paths(text: str, path: tuple[str, ...], line: int) -> None:
    assert key_lines(text)[path] == line


def test_the_line_of_a_text() -> None:
    text = 'a = [\n"x",\n\'y\',\n"xy"]'
    assert [line_of_text(text, wanted, 1) for wanted in ("x", "y", "xy", "z")] == [2, 3, 4, 1]
    assert line_of_text(text, "x", 3) == 3
