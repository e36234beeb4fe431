"""Makes a report of what a runtime folder keeps, with or without the router."""

from __future__ import annotations

from itertools import chain

from controlplane.events.reading import read_events
from controlplane.reports.reading import read_rows
from controlplane.reports.report import make_report
from controlplane.reports.rows import Row
from controlplane.reports.shapes import Report
from shared.runtime_dir import RuntimeDir


def report_of(runtime: RuntimeDir, since: float, until: float, newest: Row | None = None) -> Report:
    """Return the report of a time in Unix seconds; `since` 0 is all that is kept. `newest` is no row of it yet."""
    rows = chain(read_rows(runtime, since), (newest,) if newest is not None else ())
    return make_report(rows, read_events(runtime, after=since).events, since, until)
