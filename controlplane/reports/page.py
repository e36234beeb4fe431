"""A report as one HTML file: plots and tables, light and dark, with nothing of another host. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from controlplane.reports.plots import Line, plot
from controlplane.reports.shapes import Point, Report
from controlplane.reports.tables import (
    cache_rows,
    error_rows,
    latency_rows,
    limit_rows,
    model_rows,
    models_note,
    period,
    policy_rows,
    stamp,
    traffic_rows,
    worker_rows,
)
from shared.version import __version__

_STYLE = """
:root { color-scheme: light dark; --text: #1a1c20; --soft: #5c6470; --line: #d8dce2; --back: #fff;
  --a: #1f6feb; --b: #c2410c; --c: #0f766e; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e8eb; --soft: #9aa4b1; --line: #343a44; --back: #14171c;
    --a: #6ea8fe; --b: #fb923c; --c: #2dd4bf; }
}
body { font: 15px/1.45 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 2rem auto;
  max-width: 1100px; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p, figcaption { color: var(--soft); margin: .2rem 0 1rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 1rem; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: .6rem; }
figcaption { margin: 0 0 .3rem; } svg { width: 100%; height: auto; display: block; }
svg text { font-size: 11px; fill: var(--soft); } .grid { stroke: var(--line); stroke-width: 1; }
path { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
.a { stroke: var(--a); } .b { stroke: var(--b); } .c { stroke: var(--c); }
figcaption b.a { color: var(--a); } figcaption b.b { color: var(--b); } figcaption b.c { color: var(--c); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .8rem .25rem 0; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, .text th, .text td { text-align: left; } .text td { white-space: normal; }
thead th { color: var(--soft); font-weight: 600; }
"""


def page_of(report: Report, where: str) -> str:
    """Return the whole file; `where` names the router."""
    title = f"routerctl report of {where}"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        # Nothing is loaded and nothing runs, whatever a model or a worker is called.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1><p>{escape(period(report))}; routerctl {escape(__version__)}</p>",
    ]
    if not report.points:
        return "".join((*parts, "<p>Nothing is known of this time.</p></body></html>"))
    parts.append(f'<div class="plots">{"".join(_plots(report.points))}</div>')
    parts.append(_table("Traffic", [("", ""), *traffic_rows(report)]))
    parts.append(_table("Latency", latency_rows(report)))
    parts.append(_table("Errors by cause", error_rows(report.errors)))
    parts.append(_table("Models: what each cost", model_rows(report.models)))
    if note := models_note(report.models):
        parts.append(f"<p>{escape(note)}</p>")
    parts.append(_workers(report))
    parts.append(_table("Limits: how full they were", limit_rows(report)))
    parts.append(_table("Caches", cache_rows(report)))
    parts.append(_table("Policies", policy_rows(report)))
    events = [("", "LEVEL", "WHAT"), *((stamp(one.time), one.level, one.text) for one in report.events)]
    parts.append(_table("What workers, breakers and processes did", events, is_text=True))
    return "".join((*parts, "</body></html>"))


def _plots(points: Sequence[Point]) -> list[str]:
    return [
        _figure(
            "Requests per second",
            "",
            points,
            Line("ended", "a", [one.requests for one in points]),
            Line("failed", "b", [one.failures for one in points]),
        ),
        _figure(
            "Whole requests, seconds",
            "s",
            points,
            Line("p50", "a", [one.duration_p50 for one in points]),
            Line("p95", "b", [one.duration_p95 for one in points]),
        ),
        _figure(
            "Time to first token, seconds",
            "s",
            points,
            Line("p50", "a", [one.first_token_p50 for one in points]),
            Line("p95", "b", [one.first_token_p95 for one in points]),
        ),
        _figure(
            "Tokens per second",
            "",
            points,
            Line("in", "a", [one.prompt_tokens for one in points]),
            Line("out", "c", [one.output_tokens for one in points]),
        ),
        _figure(
            "Open requests, ready workers",
            "",
            points,
            Line("open", "a", [float(one.active) for one in points]),
            Line("ready", "c", [float(one.ready) for one in points]),
        ),
    ]


def _figure(title: str, unit: str, points: Sequence[Point], *lines: Line) -> str:
    legend = " ".join(f'<b class="{line.style}">{escape(line.name)}</b>' for line in lines)
    drawn = plot(title, unit, [one.time for one in points], [one.seconds for one in points], lines)
    return f"<figure><figcaption>{escape(title)}: {legend}</figcaption>{drawn}</figure>"


def _table(title: str, rows: Sequence[Sequence[str]], *, is_text: bool = False) -> str:
    if len(rows) < 2:
        return ""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    kind = ' class="text"' if is_text else ""
    shown = f"<thead><tr>{head}</tr></thead>" if any(rows[0]) else ""
    return f'<h2>{escape(title)}</h2><div class="wide"><table{kind}>{shown}<tbody>{body}</tbody></table></div>'


def _workers(report: Report) -> str:
    sums = ", ".join(
        f"{one.role or 'gone'}: the busiest of {one.workers} had {one.most_over_mean:.2f} times the mean"
        for one in report.balance
    )
    table = _table("Workers: balance, and what breakers did", worker_rows(report.workers))
    return f"{table}<p>{escape(sums)}</p>"
