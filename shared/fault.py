"""A value of the configuration that can not work."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """What is wrong. `text` names values by their flags; `value` is the wrong part of a list."""

    fields: tuple[str, ...]
    text: str
    value: str | None = None
