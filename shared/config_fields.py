"""The fields of the configuration as every source of values sees them, and the place that a value came from."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import msgspec

from shared.config import StartConfig

FIELDS = {field.name: field for field in msgspec.structs.fields(StartConfig)}
TABLES = frozenset({"workers", "policies", "models"})
"""Those that a file alone gives: tables fit into no flag and no variable."""
FLAGS = tuple(name for name in FIELDS if name not in TABLES)
LISTS = frozenset(name for name, field in FIELDS.items() if field.type == tuple[str, ...])
BOOLEANS = frozenset(name for name, field in FIELDS.items() if field.type is bool)

Source = Literal["default", "flag", "environment", "file"]


class Place(NamedTuple):
    """Where a value came from. `name` is the flag, the variable or the file; `line` and `key` are a file's."""

    source: Source
    name: str = ""
    line: int = 0
    key: str = ""

    def __str__(self) -> str:
        """Return the place as the subject of a sentence about the value."""
        return f"{self.name}:{self.line}: {self.key}" if self.source == "file" else self.name


class Given(NamedTuple):
    """A value as a source has it: a text, or what TOML has typed."""

    value: Any
    place: Place


class Problem(NamedTuple):
    """What is wrong with a configuration: one line that says where, what, and what to write instead.

    `line` is 0 where it stands in no file.
    """

    text: str
    line: int = 0


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant; None when none is near."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None
