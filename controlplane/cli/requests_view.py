"""Open and last requests as tables for people. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from controlplane.cli.explain_view import plain
from controlplane.cli.status_view import aligned, duration
from controlplane.cli.texts import shortened
from shared.request_lines import RequestLine, RequestLines

# What does not fit in 80 columns stands last.
_HEAD = ("AT", "REQUEST", "STATE", "TOOK", "FIRST BYTE", "WORKERS", "MODEL", "PLANE", "PATH")
_LONGEST_ID = 64
"""Letters of a request's id in a terminal: clients choose it, up to 200, and `routerctl explain` wants all of it."""
_LONGEST_MODEL = 32
"""Letters of a model's name there: paths of folders fill a line by themselves."""


def as_text(lines: RequestLines, now: float, width: int | None, *, troubled: bool = False) -> str:
    """Return both tables, each line cut at `width` columns; `now` is Unix time.

    Where lines are cut, so are long names, or one of them would push the columns of all requests out of sight.
    """
    is_cut = width is not None
    return "\n".join(line[:width].rstrip() for line in _lines(lines, now, troubled=troubled, is_cut=is_cut))


def _lines(lines: RequestLines, now: float, *, troubled: bool, is_cut: bool) -> Iterator[str]:
    left = lines.active - len(lines.open)
    yield f"{lines.active} open" + (f", the oldest {len(lines.open)} of them:" if left > 0 else "")
    if lines.open:
        yield from _table(lines.open, now, is_cut=is_cut)
    yield ""
    if lines.ended:
        yield "the last that have ended" + (", of those with trouble:" if troubled else ":")
        yield from _table(lines.ended, now, is_cut=is_cut)
    else:
        yield "nothing went wrong lately" if troubled else "no request has ended lately"


def _table(lines: Sequence[RequestLine], now: float, *, is_cut: bool) -> Iterator[str]:
    yield from aligned([_HEAD, *(_row(line, now, is_cut=is_cut) for line in lines)])


def _row(line: RequestLine, now: float, *, is_cut: bool) -> tuple[str, ...]:
    name, model = plain(line.request), plain(line.model or "-")
    if is_cut:
        name, model = shortened(name, _LONGEST_ID), shortened(model, _LONGEST_MODEL)
    took = line.ended if line.ended is not None else max(0.0, now - line.arrived)
    return (
        time.strftime("%H:%M:%S", time.localtime(line.arrived)),
        name,
        plain(_state(line)),
        _short(took),
        "-" if line.first_byte is None else _short(line.first_byte),
        " > ".join(worker.removeprefix("http://") for worker in line.workers) or "-",
        model,
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
