"""The evaluation of policies as a picture: two bars a run, hit rate and the slowest requests' time to first token."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol
from xml.sax.saxutils import escape

_LINE, _BAR, _TOP, _GAP = 18, 11, 44, 7
_NAMES, _PLANES = 190, 224
_PANELS = (236, 488)
_WIDTH = 190
"""Pixels of the longest bar; its figure stands behind it."""
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.head { font-weight: 600 }
.hit { fill: #2f81d6 }
.wait { fill: #d4742c }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .hit { fill: #58a6ff }
  .wait { fill: #f0a050 }
}
"""


class Run(Protocol):
    """One run: `hit_rate` from 0 to 1, `ttft_p99` in seconds."""

    @property
    def policy(self) -> str:
        """Its name."""
        ...

    @property
    def planes(self) -> int:
        """How many."""
        ...

    @property
    def hit_rate(self) -> float:
        """Of all prompts' tokens those that were cached."""
        ...

    @property
    def ttft_p99(self) -> float:
        """Of a hundred requests one waited longer."""
        ...


class _Panel(NamedTuple):
    left: int
    kind: str
    most: float


def plot(runs: Sequence[Run]) -> str:
    """Return the picture as SVG, readable on light and on dark ground. Raises ValueError where there is nothing."""
    if not runs:
        raise ValueError("no run to show")
    hits = _Panel(_PANELS[0], "hit", max(run.hit_rate for run in runs))
    waits = _Panel(_PANELS[1], "wait", max(run.ttft_p99 for run in runs))
    names = [run.policy for run in runs]
    # A gap before each policy but the first.
    gaps = [sum(one != other for one, other in pairwise(names[: number + 1])) for number in range(len(runs))]
    height = _TOP + _LINE * len(runs) + _GAP * gaps[-1] - 4
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 732 {height}" width="732" height="{height}" role="img">',
        "<title>Hit rate and TTFT p99 by policy and number of planes</title>",
        f"<style>{_STYLE}</style>",
        _text(_PLANES, 20, "planes", "head", end=True),
        _text(hits.left, 20, "hit rate (more is better)", "head"),
        _text(waits.left, 20, "TTFT p99 (less is better)", "head"),
    ]
    for number, run in enumerate(runs):
        y = _TOP + _LINE * number + _GAP * gaps[number]
        if not number or run.policy != names[number - 1]:
            lines.append(_text(_NAMES, y, run.policy, end=True))
        lines.append(_text(_PLANES, y, str(run.planes), end=True))
        lines += _bar(hits, y, run.hit_rate, f"{run.hit_rate:.1%}")
        lines += _bar(waits, y, run.ttft_p99, f"{run.ttft_p99:.1f} s")
    return "\n".join((*lines, "</svg>", ""))


def _bar(panel: _Panel, y: int, value: float, figure: str) -> tuple[str, str]:
    width = _WIDTH * value / panel.most if panel.most else 0.0
    top = y - _BAR + 1
    bar = f'<rect class="{panel.kind}" x="{panel.left}" y="{top}" width="{width:.1f}" height="{_BAR}"/>'
    return bar, _text(round(panel.left + width + 5), y, figure)


def _text(x: int, y: int, text: str, kind: str = "", *, end: bool = False) -> str:
    anchor = ' text-anchor="end"' if end else ""
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}"{named}{anchor}>{escape(text)}</text>'
