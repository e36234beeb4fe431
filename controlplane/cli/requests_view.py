"""Open and last requests as tables for people. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from controlplane.cli.explain_view import plain
from controlplane.cli.status_view import duration
from controlplane.cli.texts import shortened
from shared.request_lines import RequestLine, RequestLines

# What does not fit stands last.
_HEAD = ("AT", "REQUEST", "STATE", "WORKERS", "MODEL", "TOOK", "FIRST BYTE", "PLANE", "PATH")
_MOST = (8, 64, 64, 64, 32, 8, 10, 24, 64)
"""Letters to which a column is made as wide as its cells: clients choose ids, up to 200, and models are folders' paths.

A longer cell is cut in a terminal; in a pipe it is whole, and moves the rest of its own line alone.
"""
_LEAST = (8, 12, 24, 16, 12)
"""Letters that are left of the first columns where a terminal is narrow: with the gaps they fill one of 80 columns."""
_GAP = 2
_REJECTED = "rejected "


def as_text(lines: RequestLines, now: float, width: int | None, *, troubled: bool = False) -> str:
    """Return both tables, each line cut at `width` columns; `now` is Unix time.

    Where lines are cut, so are long names, or one of them would push the columns of all requests out of sight.
    """
    return "\n".join(line[:width].rstrip() for line in _lines(lines, now, width, troubled=troubled))


def _lines(lines: RequestLines, now: float, width: int | None, *, troubled: bool) -> Iterator[str]:
    left = lines.active - len(lines.open)
    yield f"{lines.active} open" + (f", the oldest {len(lines.open)} of them:" if left > 0 else "")
    if lines.open:
        yield from _table(lines.open, now, width)
    yield ""
    if lines.ended:
        yield "the last that have ended" + (", of those with trouble:" if troubled else ":")
        yield from _table(lines.ended, now, width)
    else:
        yield "nothing went wrong lately" if troubled else "no request has ended lately"


def _table(lines: Sequence[RequestLine], now: float, width: int | None) -> Iterator[str]:
    rows = [_HEAD, *(_row(line, now) for line in lines)]
    sizes = [
        min(most, max(len(row[place]) for row in rows if len(row[place]) <= most or width is not None))
        for place, most in enumerate(_MOST)
    ]
    if width is not None:
        sizes = fitted(sizes, width)
        rows = [tuple(shortened(cell, size) for cell, size in zip(row, sizes, strict=True)) for row in rows]
    for row in rows:
        yield (" " * _GAP).join(cell.ljust(size) for cell, size in zip(row, sizes, strict=True))


def fitted(sizes: Sequence[int], width: int) -> list[int]:
    """Return the columns' widths, where the first ones are made smaller until these fit in `width`.

    It is that one's turn which is the most above its least width.
    """
    fitting = list(sizes)
    while sum(fitting[: len(_LEAST)]) + _GAP * (len(_LEAST) - 1) > width:
        above = [size - least for size, least in zip(fitting, _LEAST, strict=False)]
        if max(above) <= 0:
            break
        fitting[above.index(max(above))] -= 1
    return fitting


def _row(line: RequestLine, now: float) -> tuple[str, ...]:
    took = line.ended if line.ended is not None else max(0.0, now - line.arrived)
    return (
        time.strftime("%H:%M:%S", time.localtime(line.arrived)),
        plain(line.request),
        plain(_state(line)),
        " > ".join(worker.removeprefix("http://") for worker in line.workers) or "-",
        plain(line.model or "-"),
        _short(took),
        "-" if line.first_byte is None else _short(line.first_byte),
        line.plane,
        plain(line.path),
    )


def _state(line: RequestLine) -> str:
    """Return the phase of one that is open; of one that has ended what the client got, and why it got nothing."""
    if line.phase:
        return line.phase
    if line.outcome.startswith(_REJECTED):
        return f"{line.status} {line.outcome.removeprefix(_REJECTED)}"
    return str(line.status) if line.outcome == "answered" else line.outcome


def _short(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else duration(seconds)
