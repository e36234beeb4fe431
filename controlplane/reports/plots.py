"""Plots as SVG: lines over time, drawn without any library. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

WIDTH, HEIGHT = 720, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 12, 24
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


class Line(NamedTuple):
    """One line: its name, the class that gives it its colour, and values, None where none is known."""

    name: str
    style: str
    values: Sequence[float | None]


def plot(title: str, unit: str, times: Sequence[float], widths: Sequence[float], lines: Sequence[Line]) -> str:
    """Return a plot of lines over times (Unix seconds, rising).

    A value is of the `widths` seconds before its time. A line breaks where nothing is known.
    """
    most = max((value for line in lines for value in line.values if value is not None), default=0.0)
    step = _step(most)
    top = step * max(1, ceil(most / step - 1e-9))
    begin, end = times[0] - widths[0], times[-1]
    across = (WIDTH - _LEFT - _RIGHT) / max(1e-9, end - begin)
    up = (HEIGHT - _TOP - _BOTTOM) / top
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
    ]
    for number in range(round(top / step) + 1):
        y = HEIGHT - _BOTTOM - number * step * up
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number * step:g}{escape(unit)}</text>')
    for part in range(5):
        when = begin + (end - begin) * part / 4
        x = _LEFT + (when - begin) * across
        anchor = "start" if part == 0 else "end" if part == 4 else "middle"
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{_clock(when, end - begin)}</text>')
    for line in lines:
        runs = _runs(times, widths, line.values)
        path = " ".join(
            ("M" if place == 0 else "L") + f"{_LEFT + (when - begin) * across:.1f},{HEIGHT - _BOTTOM - value * up:.1f}"
            for run in runs
            for place, (when, value) in enumerate(run)
        )
        parts.append(f'<path class="{escape(line.style)}" d="{path}"><title>{escape(line.name)}</title></path>')
    return "".join((*parts, "</svg>"))


def _runs(
    times: Sequence[float], widths: Sequence[float], values: Sequence[float | None]
) -> list[list[tuple[float, float]]]:
    """Return the points of a line, apart where something is missing between them."""
    runs: list[list[tuple[float, float]]] = []
    widest: list[float] = []
    before = None
    for when, width, value in zip(times, widths, values, strict=True):
        if value is None:
            before = None
            continue
        middle = when - width / 2
        # A point stands for what its row tells: a longer time without one is a gap.
        if before is None or when - width - before > 1.5 * width + 15:
            runs.append([])
            widest.append(width)
        runs[-1].append((middle, value))
        before = when
    # A point alone is seen as a line as long as the time that it stands for.
    return [run if len(run) > 1 else _stretched(run[0], width) for run, width in zip(runs, widest, strict=True)]


def _stretched(point: tuple[float, float], width: float) -> list[tuple[float, float]]:
    middle, value = point
    return [(middle - width / 2, value), (middle + width / 2, value)]


def _step(most: float) -> float:
    """Return a round distance of the lines of a grid, of which there are 2 to 5."""
    if most <= 0:
        return 1.0
    size = 10.0 ** floor(log10(most / 4))
    return next(size * step for step in _STEPS if size * step >= most / 4 - 1e-12)


def _clock(when: float, length: float) -> str:
    pattern = "%H:%M:%S" if length < 600 else "%H:%M" if length < 2 * 86400 else "%m-%d %H:%M"
    return time.strftime(pattern, time.localtime(when))
