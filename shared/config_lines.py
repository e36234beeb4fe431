"""On which line each key of a TOML text stands. tomllib tells values only."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?!")'
    r"|'''.*?'''(?!')"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|\n|[\[\]{}=]"
    r"""|[^\n"'\#\[\]{}=]+""",
    re.DOTALL,
)
_OPENING, _CLOSING = "[{", "]}"


def key_lines(text: str) -> dict[Path, int]:
    """Return the first line of each table and each of its keys, by path; `text` is valid TOML.

    In the path of an array's table its number, from "0", follows the array's name. Keys within inline tables are not
    looked for.
    """
    lines: dict[Path, int] = {}
    table: Path = ()
    newest: dict[Path, int] = {}
    for line, statement in _statements(text):
        if statement[0] == "[":
            path = _path("".join(statement).strip("[] \t"))
            if statement[1] == "[":
                newest[path] = newest.get(path, -1) + 1
            path = table = _numbered(path, newest)
        else:
            path = (*table, *_path("".join(statement[: statement.index("=")])))
        for length in range(1, len(path) + 1):
            lines.setdefault(path[:length], line)
    return lines


def line_of_text(text: str, wanted: str, first: int) -> int:
    """Return the line, from line `first` on, that has the quoted text `wanted`; `first` when none has."""
    for number, line in enumerate(text.split("\n")[first - 1 :], first):
        if f'"{wanted}"' in line or f"'{wanted}'" in line:
            return number
    return first


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each table header and each `key = value` as its tokens, with the line it begins on."""
    line, begun, depth = 1, 1, 0
    statement: list[str] = []
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token == "\n" and depth == 0:  # noqa: S105 - no password
            if statement:
                yield begun, statement
            statement = []
        elif token.startswith("#") or token.isspace():
            pass
        else:
            if not statement:
                begun = line
            statement.append(token)
            depth += (token in _OPENING) - (token in _CLOSING)
        line += token.count("\n")
    if statement:
        yield begun, statement


def _numbered(path: Path, newest: Mapping[Path, int]) -> Path:
    """Return a table's path with the numbers of the arrays that it is within."""
    full: list[str] = []
    for length, part in enumerate(path, 1):
        full.append(part)
        if (number := newest.get(path[:length])) is not None:
            full.append(str(number))
    return tuple(full)


def _path(key: str) -> Path:
    """Return the parts of a key as it is written: `a."b c"` is ("a", "b c")."""
    parts: list[str] = []
    content: Any = tomllib.loads(f"{key} = 0")
    while isinstance(content, dict):
        ((part, content),) = content.items()
        parts.append(part)
    return tuple(parts)
