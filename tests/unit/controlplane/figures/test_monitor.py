"""The admin API's answers for monitors."""

import logging
import time
from pathlib import Path

import msgspec
from msgspec.structs import replace

from controlplane.console.line import text_of
from controlplane.events.event import about
from controlplane.events.reading import TAIL, newest_events, read_events
from controlplane.events.recorder import recorded_events
from controlplane.figures.monitor import summary
from controlplane.figures.traffic import Figures, Sample, figures
from controlplane.planes import Planes
from controlplane.reports.rows import Row
from controlplane.status_report import BreakerStatus
from controlplane.top.snapshot import Summary
from shared.runtime_dir import RuntimeDir
from tests.unit.controlplane.figures.sums import sums
from tests.unit.controlplane.members import A
from tests.unit.controlplane.test_admin import Admin
from tests.unit.controlplane.test_status_builder import build

log = logging.getLogger("tests.monitor")


def some_figures() -> Figures:
    old = Sample(at=0.0, totals=sums(0, workers={A: 0}))
    return figures(old, old, Sample(at=10.0, totals=sums(20, workers={A: 20})))


def test_one_answer_has_all_that_a_monitor_shows(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    admin.figures = some_figures()
    with recorded_events(admin.router.runtime, "control plane"):
        for number in range(30):
            log.warning("worker %d is unhealthy", number, extra=about("worker", A))
    # The lines are in the file once the recorder has ended.
    told = admin("GET", "/monitor").json()
    assert [event["text"] for event in told["events"]] == [f"worker {number} is unhealthy" for number in range(10, 30)]
    assert told["summary"]["traffic"]["output_tokens"] == 20.0
    assert told["summary"]["workers"] == {"starting": 1}
    (worker,) = told["status"]["workers"]
    assert worker["traffic"]["requests"] == 2.0
    assert worker["traffic"]["first_byte"]["count"] == 20
    assert admin("GET", "/monitor?events=0").json()["events"] == []
    assert admin("GET", "/summary").json() == told["summary"]


def test_every_view_means_the_same_by_ready() -> None:
    report = build(Planes())
    (ready,) = report.workers
    standing = [
        replace(ready, breaker=BreakerStatus(state="open", reason="10 failed", age=4.0)),
        replace(ready, breaker=BreakerStatus(state="half-open", reason="10 failed", age=4.0)),
        replace(ready, state="draining"),
        replace(ready, state="draining", drained=True),
        replace(ready, state="unhealthy", breaker=BreakerStatus(state="open", reason="10 failed", age=4.0)),
    ]
    told = summary(replace(report, workers=(ready, *standing)), some_figures())
    assert told.workers == dict.fromkeys(
        ("ready", "breaker open", "breaker half-open", "draining", "drained", "unhealthy"), 1
    )
    assert told.broken == 2
    shown = msgspec.json.decode(msgspec.json.encode(told), type=Summary)
    assert text_of(shown).startswith(" 1/6 workers ready  2 breakers not closed  ")


def test_how_many_events_is_a_number_within_bounds(tmp_path: Path) -> None:
    for text in ("101", "-1", "some", "²"):
        refused = Admin(tmp_path)("GET", "/monitor", params={"events": text})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bad_query")


def test_a_router_without_figures_says_so(tmp_path: Path) -> None:
    told = Admin(tmp_path)("GET", "/monitor").json()
    assert told["summary"]["traffic"] is None
    assert told["status"]["workers"][0]["traffic"] is None


def test_the_newest_events_come_from_the_end_of_large_files(tmp_path: Path) -> None:
    runtime = RuntimeDir(tmp_path)
    with recorded_events(runtime, "control plane"):
        for number in range(600):
            log.warning("event %d", number, extra=about("configuration"))
    assert runtime.events("control plane").stat().st_size > TAIL
    told = newest_events(runtime, 100)
    assert told == read_events(runtime, limit=100).events
    assert newest_events(runtime, 0) == ()
    assert 100 < len(newest_events(runtime, 600)) < 600


def test_a_report_is_of_the_time_that_is_asked_for(tmp_path: Path) -> None:
    admin = Admin(tmp_path)
    rows = admin.router.runtime.history_rows
    now = time.time()
    old, new = Row(time=now - 7200.0, seconds=15.0), Row(time=now - 60.0, seconds=15.0)
    rows.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in (old, new)))
    assert admin("GET", "/report").json()["known_seconds"] == 15.0
    assert admin("GET", "/report?seconds=0").json()["known_seconds"] == 30.0
    assert admin("GET", "/report?seconds=10").json()["points"] == []
    for text in ("-1", "nan", "inf", "soon"):
        refused = admin("GET", f"/report?seconds={text}")
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bad_query")
