"""Events are kept by whoever logs them and read by whoever asks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from controlplane.events import recorder
from controlplane.events.event import Event, about, about_plane
from controlplane.events.reading import read_events
from controlplane.events.recorder import recorded_events
from shared.logs import set_level
from shared.runtime_dir import RuntimeDir

log = logging.getLogger("tests.events")


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    before = logging.getLogger().level
    set_level("info")
    yield
    logging.getLogger().setLevel(before)


def texts(runtime: RuntimeDir, **asked: float) -> list[str]:
    return [event.text for event in read_events(runtime, **asked).events]  # type: ignore[arg-type]


@pytest.mark.parametrize("wanted", ["debug", "info", "warning", "critical"])
def test_lines_that_are_about_something_are_kept_whatever_is_logged(tmp_path: Path, wanted: str) -> None:
    runtime = RuntimeDir(tmp_path)
    set_level(wanted)
    with recorded_events(runtime, "control plane"):
        log.info("something else")
        log.info("worker %s is %s", "http://a", "ready", extra=about("worker", "http://a"))
        log.critical("plane %s is gone", 3, extra=about_plane(3))
    ready, gone = read_events(runtime).events
    assert (ready.kind, ready.subject, ready.level, ready.text) == (
        "worker", "http://a", "info", "worker http://a is ready",
    )  # fmt: skip
    assert (gone.kind, gone.subject, gone.level, gone.told_by) == ("process", "plane 3", "error", "control plane")
    assert 0 < ready.time <= gone.time


def test_two_processes_are_read_as_one_in_the_order_of_time(tmp_path: Path) -> None:
    runtime = RuntimeDir(tmp_path)
    for number, teller in enumerate(("supervisor", "control plane", "supervisor", "control plane")):
        with recorded_events(runtime, teller):  # type: ignore[arg-type]
            log.warning("%d", number, extra=about("configuration"))
    assert texts(runtime) == ["0", "1", "2", "3"]
    second = read_events(runtime).events[1].time
    assert texts(runtime, after=second) == ["2", "3"]
    assert texts(runtime, limit=1) == ["3"]


def test_what_is_kept_is_bounded_and_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MAX_FILE", 4000)
    runtime = RuntimeDir(tmp_path)
    for number in range(10):
        with recorded_events(runtime, "supervisor"):
            for part in range(20):
                log.info("%d", number * 20 + part, extra=about("process"))
    kept = [int(text) for text in texts(runtime)]
    assert kept == list(range(kept[0], 200))
    assert 0 < kept[0] < 190
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 8000


def test_a_disk_that_is_slower_than_the_events_loses_some_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler = recorder._Events("supervisor")
    record = log.makeRecord(log.name, logging.INFO, "", 0, "x", (), None, extra=about("process"))
    for _ in range(2 * recorder.MAX_WAITING):
        handler.handle(record)
    assert handler.waiting.qsize() == recorder.MAX_WAITING


def test_what_is_no_event_is_passed_over(tmp_path: Path) -> None:
    runtime = RuntimeDir(tmp_path)
    assert texts(runtime) == []
    whole = msgspec.json.encode(Event(time=5.0, level="info", kind="worker", text="x", told_by="supervisor"))
    runtime.events("supervisor").write_bytes(whole[:20] + b"\n\xff\n{}\n" + whole + b"\n" + whole[:30])
    assert texts(runtime) == ["x"]


def test_texts_are_short(tmp_path: Path) -> None:
    with recorded_events(RuntimeDir(tmp_path), "supervisor"):
        log.info("x" * 10_000, extra=about("process"))
    assert [len(text) for text in texts(RuntimeDir(tmp_path))] == [recorder.MAX_TEXT]
