"""What people are told of log files that can not be written: not each time, and how much was lost. Pure."""

from __future__ import annotations

SPACING = 60.0
"""Seconds between two words about it: a disk that has a little room now and then fails with every other line."""


class Losses:
    """Counts the lines that files lost; times are monotonic seconds."""

    def __init__(self) -> None:
        self._lost = 0
        self._told: float | None = None
        self._is_open = False

    def failed(self, lines: int, reason: str, now: float) -> str:
        """Take in that so many lines could not be written; return what to say, nothing where it was said lately."""
        self._lost += lines
        if self._told is not None and now - self._told < SPACING:
            return ""
        self._told, self._is_open = now, True
        return f"can not be written: {reason}; {self._lost} lines are missing there so far, stderr has them"

    def written(self) -> str:
        """Take in that all could be written; return what to say, nothing where nobody was told otherwise."""
        if not self._is_open:
            return ""
        self._is_open = False
        return f"are written again; {self._lost} lines are missing there since the start"
