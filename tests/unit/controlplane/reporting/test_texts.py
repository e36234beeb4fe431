"""Reports as tables and as a page."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from msgspec.structs import replace

from controlplane.reports.page import page_of
from controlplane.reports.plots import Line, plot
from controlplane.reports.report import make_report
from controlplane.reports.tables import MOST_ROWS, text_of
from tests.unit.controlplane.reporting.reporting_rows import NOON, hour

DOCS = Path(__file__).parents[4] / "docs" / "reports.md"
EVIL = "<script>alert(1)</script>\"'&"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_tables_in_the_documents_are_a_report() -> None:
    assert text_of(hour()) in DOCS.read_text()


def test_long_tables_say_that_there_is_more() -> None:
    report = hour()
    many = tuple(replace(report.workers[0], worker=f"http://{number}") for number in range(MOST_ROWS + 3))
    assert "and 3 more; --json has all" in text_of(replace(report, workers=many))


def test_lines_are_cut_where_a_terminal_ends() -> None:
    assert max(map(len, text_of(hour(), 60).splitlines())) == 60


def test_a_time_without_rows() -> None:
    empty = make_report([], [], NOON, NOON + 60.0)
    assert "nothing is known" in text_of(empty)
    assert "Nothing is known" in page_of(empty, "x")


class Strict(HTMLParser):
    """Finds what a page loads or runs, and tags that are not closed in their order."""

    VOID = frozenset({"meta", "line"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not {"src", "href", "onclick", "onload"} & {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_loads_and_runs_nothing_whatever_workers_are_called() -> None:
    report = hour()
    worker = replace(report.workers[0], worker=EVIL, role=EVIL)
    model = replace(report.models[0], model=EVIL)
    event = replace(report.events[0], text=EVIL)
    error = replace(report.errors[0], cause=EVIL)
    page = page_of(
        replace(report, workers=(worker,), models=(model,), events=(event,), errors=(error,)), f"http://x{EVIL}"
    )
    strict = Strict()
    strict.feed(page)
    assert strict.open == []
    assert "script" not in strict.seen
    assert {"svg", "path", "table"} <= strict.seen
    assert "http://" not in page.replace("http://x", "")
    assert "default-src 'none'" in page


def test_a_page_has_all_parts() -> None:
    page = page_of(hour(), "http://router")
    for text in ("Requests per second", "Errors by cause", "workers_unreachable", "http://a:8000", "1.33 times"):
        assert text in page


def test_a_line_breaks_where_nothing_is_known() -> None:
    times = [NOON + 15.0 * number for number in (1, 2, 3, 40, 41)]
    drawn = plot("t", "s", times, [15.0] * 5, [Line("x", "a", [1.0, 2.0, 3.0, None, 5.0])])
    (path,) = re.findall(r'd="([^"]*)"', drawn)
    assert path.count("M") == 2
    assert plot("t", "", [NOON], [15.0], [Line("x", "a", [0.0])]).count("<path") == 1


def test_a_plot_ends_above_its_highest_value() -> None:
    drawn = plot("t", "", [1.0, 2.0], [1.0, 1.0], [Line("x", "a", [7.0, 3.0])])
    heights = [float(pair.partition(",")[2]) for pair in re.findall(r"[ML]([0-9.,]+)", drawn)]
    assert all(12.0 <= height <= 176.0 for height in heights)
    assert ">8</text>" in drawn
