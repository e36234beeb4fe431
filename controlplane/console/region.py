"""Orders to a terminal that keep its last line free of what scrolls. Pure.

A terminal scrolls within a region of its lines. All processes of the router write to it as they do otherwise, whole
lines at once, and these scroll above; one of them draws the line below. Nobody has to pass on what others log, so
nothing is lost when this one dies: planes outlive it, and log on.
"""

from __future__ import annotations

from controlplane.top.texts import clean, fitted

LEAST_LINES = 3
"""Lines of a terminal below which there is no line of ours."""
_SAVE, _RESTORE = "\x1b7", "\x1b8"


def entered(lines: int) -> bytes:
    """Return what takes the last of so many lines out of the region that scrolls.

    The line break makes room where the cursor is on the last one already; the region's order moves the cursor.
    """
    return f"\n{_SAVE}\x1b[1;{lines - 1}r{_RESTORE}\x1b[1A".encode()


def drawn(text: str, columns: int, lines: int) -> bytes:
    """Return what shows a text in the last line and leaves the cursor where it was."""
    # One column less: behind a full line some terminals go to the next one.
    line = fitted(clean(text), max(0, columns - 1))
    return f"{_SAVE}\x1b[{lines};1H\x1b[2K\x1b[7m{line}\x1b[0m{_RESTORE}".encode()


def left(lines: int) -> bytes:
    """Return what empties the line and has the whole terminal scroll again."""
    return f"{_SAVE}\x1b[{lines};1H\x1b[2K\x1b[r{_RESTORE}".encode()
