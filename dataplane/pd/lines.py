"""The lines of a stream of events, as they come in parts of any size.

vLLM writes an event's JSON as one line and sends each event by itself, so a part ends where a line ends, as a rule, and
goes on as it came. What comes of a line before its end is kept back until then, and goes on with the next part.
"""

from __future__ import annotations

from collections.abc import Callable

_DATA = b"data:"


class Lines:
    """Changes the JSON of `data:` lines that have a `mark` in them, and nothing else."""

    __slots__ = ("_change", "_held", "_mark", "_most", "_size")

    def __init__(self, change: Callable[[bytes], bytes], mark: bytes, most: int) -> None:
        """`change` returns the same object for JSON that stays as it is. Lines of more than `most` bytes pass, too."""
        self._change = change
        self._mark = mark
        self._most = most
        self._held: list[bytes] = []
        self._size = 0

    @property
    def is_between(self) -> bool:
        """Whether nothing is kept back."""
        return not self._held

    def take(self, part: bytes) -> bytes:
        """Return what goes on now; the same object where nothing changes."""
        end = part.rfind(b"\n") + 1
        if not end and self._size + len(part) <= self._most:
            self._held.append(part)
            self._size += len(part)
            return b""
        if end == len(part) and not self._held:
            return self._changed(part)
        whole = b"".join((*self._held, part[:end] if end else part))
        self._held = [part[end:]] if 0 < end < len(part) else []
        self._size = len(part) - end if self._held else 0
        return self._changed(whole)

    def rest(self) -> bytes:
        """Return what is kept back: the stream is over."""
        rest = b"".join(self._held)
        self._held = []
        self._size = 0
        return rest

    def _changed(self, whole: bytes) -> bytes:
        if self._mark not in whole:
            return whole
        lines = whole.splitlines(keepends=True)
        new = [self._line(line) for line in lines]
        return whole if all(map(_is_same, lines, new)) else b"".join(new)

    def _line(self, line: bytes) -> bytes:
        start, end = line.find(b"{"), line.rfind(b"}") + 1
        if not line.startswith(_DATA) or self._mark not in line or start < 0 or end <= start:
            return line
        text = line[start:end]
        changed = self._change(text)
        return line if changed is text else b"%b%b%b" % (line[:start], changed, line[end:])


def _is_same(one: bytes, other: bytes) -> bool:
    return one is other
