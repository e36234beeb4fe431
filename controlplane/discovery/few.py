"""Names in a line of the log: some of them, where there are many."""

from __future__ import annotations

from collections.abc import Sequence

_NAMED = 5


def few(texts: Sequence[str]) -> str:
    """Return the first ones, and how many more there are."""
    more = len(texts) - _NAMED
    return ", ".join(texts[:_NAMED]) + (f" and {more} more" if more > 0 else "")
