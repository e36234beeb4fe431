"""A value of a file or of JSON as a message quotes it."""

from __future__ import annotations


def as_written(value: object) -> str:
    """Return the value in its author's words: both TOML and JSON write `true`, and Python `True`."""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value)
