"""The report as text for people."""

from collections.abc import Sequence

from benchlib.control_plane import ControlRow
from benchlib.memory import MemoryRow
from benchlib.report import Figure, Report
from benchlib.stats import median, median_interval

# Per kind of load: metric, heading, whether the ratio stands beside it.
_COLUMNS = {
    "small": [
        ("cpu_us_per_request", "CPU us/request", True),
        ("requests_per_s", "requests/s", False),
        ("p50_ms", "p50 ms", False),
        ("p99_ms", "p99 ms", False),
        ("router_cores", "router cores", False),
        ("client_cores", "client cores", False),
        ("errors", "errors", False),
    ],
    "stream": [
        ("cpu_us_per_chunk", "CPU us/chunk", True),
        ("cpu_us_per_chunk_net", "net of request", True),
        ("chunks_per_s", "chunks/s", False),
        ("chunks_per_read", "chunks/read", False),
        ("ttfb_p50_ms", "TTFB p50 ms", False),
        ("ttfb_p99_ms", "TTFB p99 ms", False),
        ("errors", "errors", False),
    ],
    "rate": [
        ("p99_ms", "p99 ms", True),
        ("p50_ms", "p50 ms", False),
        ("cpu_us_per_request", "CPU us/request", True),
        ("requests_per_s", "requests/s", False),
        ("client_cores", "client cores", False),
        ("errors", "errors", False),
    ],
    "startup": [("startup_s", "seconds to first answer", True)],
}
_COLUMNS["stream paced"] = _COLUMNS["stream"]
_COLUMNS["1000 streams"] = [("p50_ms", "ms per stream", True), ("p99_ms", "p99 ms", True), *_COLUMNS["stream"]]


def render(report: Report) -> str:
    """Return all tables. Cells are `median (lowest .. highest)` of the rounds.

    Beside a ratio stands the interval in which its median lies at 95 %: that of few rounds is theirs.
    """
    groups: dict[tuple[str, str], list[Figure]] = {}
    for figure in report.figures:
        groups.setdefault((figure.fleet, figure.load), []).append(figure)
    parts = [_load_table(fleet, load, group) for (fleet, load), group in groups.items()]
    if report.memory:
        parts.append(_memory_table(report.memory))
    if report.control_plane:
        parts.append(_control_plane_table(report.control_plane))
    return "\n\n".join(parts)


def _load_table(fleet: str, load: str, figures: Sequence[Figure]) -> str:
    cells = {(figure.variant, figure.metric): figure for figure in figures}
    columns = [column for column in _COLUMNS[load] if any(figure.metric == column[0] for figure in figures)]
    compared = any(figure.ratios for figure in figures)
    head = [""]
    for _, heading, with_ratio in columns:
        head += [heading, "ratio"] if with_ratio and compared else [heading]
    rows = [head]
    for variant in dict.fromkeys(figure.variant for figure in figures):
        row = [variant]
        for metric, _, with_ratio in columns:
            figure = cells[variant, metric]
            row.append(_cell(figure, spread=with_ratio))
            if with_ratio and compared:
                row.append(", ".join(_ratio(ratios, other) for other, ratios in figure.ratios.items()))
        rows.append(row)
    name = load if fleet in ("load", load) else f"{fleet}: {load}"
    return _layout(name, rows)


def _ratio(ratios: Sequence[float], other: str) -> str:
    least, most = median_interval(ratios)
    spread = f" ({least:.2f} .. {most:.2f})" if len(ratios) > 1 else ""
    return f"x{median(ratios):.2f}{spread} of {other}"


def _cell(figure: Figure, *, spread: bool) -> str:
    if figure.metric == "errors":
        return f"{sum(figure.values):.0f}"
    digits = 0 if figure.median >= 1000 else 2
    text = f"{figure.median:.{digits}f}"
    return f"{text} ({min(figure.values):.{digits}f} .. {max(figure.values):.{digits}f})" if spread else text


def _memory_table(memory: Sequence[MemoryRow]) -> str:
    rows = [["", "state", "process", "RSS MiB", "PSS MiB"]]
    for row in memory:
        pss = "-" if row.pss is None else f"{row.pss:.1f}"
        rows.append([row.variant, row.state, row.role, f"{row.rss:.1f}", pss])
    return _layout("memory", rows)


def _control_plane_table(figures: Sequence[ControlRow]) -> str:
    head = ["", "of", "metric", "value", "wanted"]
    rows = [[row.part, row.variant, row.metric, f"{row.value:.10g}", row.wanted] for row in figures]
    return _layout("control-plane", [head, *rows])


def _layout(name: str, rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([f"== {name}", *lines])
