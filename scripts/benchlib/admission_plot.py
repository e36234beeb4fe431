"""Two tenants as a picture: what each got, and how long its requests waited for their first byte."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

_LINE, _BAR, _TOP = 34, 12, 44
_NAMES, _WIDTH = 150, 170
_PANELS = (160, 440)
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.head { font-weight: 600 }
.rate { fill: #2f81d6 }
.half { fill: #d4742c }
.wait { fill: #d4742c; opacity: 0.45 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .rate { fill: #58a6ff }
  .half, .wait { fill: #f0a050 }
}
"""


class Bar(NamedTuple):
    """One tenant's part: answers per second, and seconds to the first byte."""

    name: str
    per_second: float
    p50: float
    p99: float


def plot(bars: Sequence[Bar]) -> str:
    """Return the picture as SVG, readable on light and on dark ground."""
    most_rate = max(bar.per_second for bar in bars)
    most_wait = max(bar.p99 for bar in bars)
    height = _TOP + _LINE * len(bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" width="720" height="{height}">',
        f"<style>{_STYLE}</style>",
        f'<text class="head" x="{_PANELS[0]}" y="18">answers per second</text>',
        f'<text class="head" x="{_PANELS[1]}" y="18">time to first byte, p50 and p99</text>',
    ]
    for number, bar in enumerate(bars):
        top = _TOP + _LINE * number
        parts.append(f'<text x="8" y="{top + _BAR - 1}">{escape(bar.name)}</text>')
        parts.append(_rectangle("rate", _PANELS[0], top, bar.per_second / most_rate, f"{bar.per_second:.0f}"))
        text = f"{bar.p50 * 1e3:.0f} / {bar.p99 * 1e3:.0f} ms"
        parts.append(_rectangle("wait", _PANELS[1], top, bar.p99 / most_wait, text))
        parts.append(_rectangle("half", _PANELS[1], top, bar.p50 / most_wait, ""))
    return "\n".join([*parts, "</svg>", ""])


def _rectangle(kind: str, left: int, top: int, part: float, text: str) -> str:
    width = max(1, round(part * _WIDTH))
    label = f'<text x="{left + width + 6}" y="{top + _BAR - 1}">{escape(text)}</text>' if text else ""
    return f'<rect class="{kind}" x="{left}" y="{top}" width="{width}" height="{_BAR}"/>{label}'
