"""Texts as people's tables and sentences take them. Pure."""

from __future__ import annotations

NAME_MOST = 40
"""Letters of a name that stands first in a line of a terminal: what the line tells is behind it."""
# A terminal may know no other letters than those of ASCII.
_CUT = "..."


def shortened(text: str, most: int = NAME_MOST) -> str:
    """Return a text in `most` letters at most: of a longer one its beginning and its end, which tell it from others."""
    if len(text) <= most:
        return text
    tail = (most - len(_CUT)) // 2
    return text[: most - len(_CUT) - tail] + _CUT + text[len(text) - tail :]


def counted(count: int, one: str, several: str) -> str:
    """Return a number of things in words, such as `1 worker` and `2 workers`."""
    return f"{count} {one if count == 1 else several}"
