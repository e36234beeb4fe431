"""Reads out of a PromQL expression which metrics it asks for, and by which labels. promtool says whether it is one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<word>[a-zA-Z_:][\w:]*)|(?P<range>\[[^\]]*\])"""
    r"""|(?P<number>[\d.]+[a-z]*)|(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^(){},<>=]))"""
)
_GROUPING = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan"})


class Matcher(NamedTuple):
    label: str
    operator: str
    value: str

    def accepts(self, value: str) -> bool:
        if self.operator in ("=", "!="):
            return (value == self.value) == (self.operator == "=")
        return bool(re.fullmatch(self.value, value)) == (self.operator == "=~")


class Selector(NamedTuple):
    """A metric, as its samples are named, and what their labels have to be."""

    name: str
    matchers: tuple[Matcher, ...]


class Query(NamedTuple):
    selectors: tuple[Selector, ...]
    groupings: frozenset[str]
    """Labels that something is summed or matched by."""


def parse(expression: str) -> Query:
    """Return what an expression asks for; ValueError where there is no token."""
    tokens = list(_tokens(expression))
    selectors: list[Selector] = []
    groupings: set[str] = set()
    place = 0
    while place < len(tokens):
        kind, text = tokens[place]
        following = tokens[place + 1][1] if place + 1 < len(tokens) else ""
        place += 1
        if kind != "word" or text in _WORDS:
            continue
        if text in _GROUPING:
            if following == "(":
                end = tokens.index(("sign", ")"), place)
                groupings.update(word for kind, word in tokens[place:end] if kind == "word")
                place = end + 1
        elif following == "{":
            end = tokens.index(("sign", "}"), place)
            selectors.append(Selector(text, tuple(_matchers([text for _, text in tokens[place + 1 : end]]))))
            place = end + 1
        elif following != "(" and following not in _GROUPING:
            selectors.append(Selector(text, ()))
    return Query(tuple(selectors), frozenset(groupings))


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    place, expression = 0, expression.rstrip()
    while place < len(expression):
        found = _TOKEN.match(expression, place)
        if found is None:
            raise ValueError(f"no PromQL: {expression[place : place + 30]!r}")
        assert found.lastgroup is not None
        yield found.lastgroup, found[found.lastgroup]
        place = found.end()


def _matchers(tokens: list[str]) -> Iterator[Matcher]:
    for place in range(0, len(tokens), 4):
        label, operator, value = tokens[place : place + 3]
        yield Matcher(label, operator, value[1:-1])
