"""What in the file of clients' keys is of a wrong type, in words: nobody knows by heart what TOML has typed how. Pure.

What stands in a place for secrets is never told, as whoever mixes things up may have put the key itself there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from typing import Any, NamedTuple

from shared.client_keys import is_name
from shared.config_fields import nearest
from shared.config_lines import Path

_TABLE = "[[keys]]"
_MOST = 60
"""Letters of a wrong value that are shown."""


class Form(NamedTuple):
    """What a field takes: whether a value is that, and what to write."""

    takes: Callable[[Any], bool]
    wanted: str


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_time(value: Any) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None


def _is_number(value: Any) -> bool:
    return type(value) is int


_TEXT = Form(_is_text, "a text in quotes")
_TIME = Form(_is_time, "a time with its zone and without quotes, such as 2027-11-21T12:00:00Z")
_LIMIT = Form(_is_number, "a whole number without quotes, or 0 for no limit")
FORMS: Mapping[str, Form] = {
    "name": _TEXT,
    "sha256": Form(_is_text, "64 hex digits in quotes"),
    "created": _TIME,
    "expires": _TIME,
    "models": Form(
        lambda value: isinstance(value, list) and all(map(_is_text, value)), 'names in quotes, such as ["llama-3"]'
    ),
    "tenant": _TEXT,
    "class": _TEXT,
    "max_concurrent_requests": _LIMIT,
    "requests_per_minute": _LIMIT,
    "tokens_per_minute": _LIMIT,
    "weight": Form(_is_number, "a whole number without quotes"),
    "may_choose_class": Form(lambda value: isinstance(value, bool), "true or false, without quotes"),
}
"""The fields of a key by their names in the file."""
_REQUIRED = ("name", "sha256")
_SECRET = ("sha256",)


def wrong_types(content: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield where in the file something is wrong, and what: nothing of a file whose keys can be made from it."""
    for key in content:
        if key != "keys":
            yield (key,), f"unknown key {key!r}; write a table {_TABLE} for each key, and its fields below it"
    tables = content.get("keys", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        yield ("keys",), f'keys is no list of tables; write {_TABLE} and below it name = "NAME"'
        return
    for number, table in enumerate(tables):
        for field, fault in _faults(table, called(number, table.get("name"))):
            yield ("keys", str(number), field), fault


def called(number: int, name: Any) -> str:
    """Return what a key is called in an error; its `number` is from 0 on."""
    return f"key {number + 1} ({name})" if isinstance(name, str) and is_name(name) else f"key {number + 1}"


def _faults(table: Mapping[str, Any], key: str) -> Iterator[tuple[str, str]]:
    for field in table:
        if field not in FORMS:
            near = nearest(field, FORMS)
            hint = f"did you mean {near}?" if near else f"a key has {', '.join(FORMS)}"
            yield field, f"unknown field {field!r} of {key}; {hint}"
    for field, form in FORMS.items():
        if field in table:
            if not form.takes(table[field]):
                yield field, f"{field} of {key} is {_found(field, table[field])}; write {form.wanted}"
        elif field in _REQUIRED:
            yield field, f"{key} has no {field}; write {form.wanted}"


def _found(field: str, value: Any) -> str:
    if field in _SECRET:
        return "no text"
    if isinstance(value, datetime | date | time):
        return f"{value.isoformat()}, without a time zone"
    if isinstance(value, bool):
        return "true" if value else "false"
    told = repr(value)
    return told if len(told) <= _MOST else f"{told[:_MOST]}..."
