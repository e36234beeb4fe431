"""Open and last requests as tables for people. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from controlplane.cli.explain_view import plain
from controlplane.cli.status_view import aligned, duration
from shared.request_lines import RequestLine, RequestLines

# What does not fit in 80 columns stands last.
_HEAD = ("AT", "REQUEST", "STATE", "TOOK", "FIRST BYTE", "WORKERS", "MODEL", "PLANE", "PATH")


def as_text(lines: RequestLines, now: float, width: int | None, *, troubled: bool = False) -> str:
    """Return both tables, each line cut at `width` columns; `now` is Unix time."""
    return "\n".join(line[:width].rstrip() for line in _lines(lines, now, troubled=troubled))


def _lines(lines: RequestLines, now: float, *, troubled: bool) -> Iterator[str]:
    left = lines.active - len(lines.open)
    yield f"{lines.active} open" + (f", the oldest {len(lines.open)} of them:" if left > 0 else "")
    if lines.open:
        yield from _table(lines.open, now)
    yield ""
    if lines.ended:
        yield "the last that have ended" + (", of those with trouble:" if troubled else ":")
        yield from _table(lines.ended, now)
    else:
        yield "nothing went wrong lately" if troubled else "no request has ended lately"


def _table(lines: Sequence[RequestLine], now: float) -> Iterator[str]:
    yield from aligned([_HEAD, *(_row(line, now) for line in lines)])


def _row(line: RequestLine, now: float) -> tuple[str, ...]:
    took = line.ended if line.ended is not None else max(0.0, now - line.arrived)
    return (
        time.strftime("%H:%M:%S", time.localtime(line.arrived)),
        plain(line.request),
        plain(_state(line)),
        _short(took),
        "-" if line.first_byte is None else _short(line.first_byte),
        " > ".join(worker.removeprefix("http://") for worker in line.workers) or "-",
        plain(line.model or "-"),
        line.plane,
        plain(line.path),
    )


def _state(line: RequestLine) -> str:
    """Return the phase of one that is open; of one that has ended what the client got, or why it got nothing."""
    if line.phase:
        return line.phase
    return str(line.status) if line.outcome == "answered" else line.outcome


def _short(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else duration(seconds)
