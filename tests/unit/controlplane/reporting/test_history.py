"""Rows over lives of control planes: what was counted is in exactly one of them."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controlplane.planes import Planes
from controlplane.reports.history import History
from controlplane.reports.reading import last_time, read_rows
from controlplane.totals_store import TotalsStore
from shared.plane_report import CounterSeries
from shared.runtime_dir import RuntimeDir
from tests.unit.controlplane.reports import identity, report

KIND = ("/v1/completions", "POST", "m", "200", "")


class HandClock:
    """Is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_800_000_000.0 + self.now


class Life:
    """What one control plane keeps: the sums, as it does in 2 s, and the history."""

    def __init__(self, folder: Path, clock: HandClock) -> None:
        self.runtime = RuntimeDir(folder)
        self.planes = Planes()
        self.clock = clock
        self.opened: Counter[tuple[str, str]] = Counter()
        self.store = TotalsStore(self.runtime, self.planes, {"transitions": self.opened}, lambda: {"a"})
        self.store.take_over({"p"}, clock.now)
        self.history = History(self.runtime, self.planes, dict, clock, breakers=self.opened, ejections=Counter())
        self.history.take_over()

    def count(self, requests: int) -> None:
        told = report(identity("p"), extra=(CounterSeries("requests", KIND, requests),))
        self.planes.counters(told, self.clock.now)
        self.store.write()


def counted(folder: Path) -> float:
    return sum(count for row in read_rows(RuntimeDir(folder), 0.0) for *_, count in row.requests)


def test_rows_go_on_where_an_earlier_control_plane_was_killed(tmp_path: Path) -> None:
    clock = HandClock()
    first = Life(tmp_path, clock)
    first.count(5)
    first.opened["a", "open"] += 1
    clock.now += 15.0
    first.history.write()
    first.count(8)
    first.opened["a", "open"] += 1
    first.store.write()
    clock.now += 20.0
    second = Life(tmp_path, clock)
    second.count(9)
    clock.now += 15.0
    second.history.write()
    rows = list(read_rows(second.runtime, 0.0))
    assert [(row.seconds, row.requests[0][-1]) for row in rows] == [(15.0, 5.0), (35.0, 4.0)]
    assert [row.breakers for row in rows] == [[("a", "open", 1)], [("a", "open", 1)]]
    assert last_time(second.runtime) == rows[-1].time
    assert [row.time for row in read_rows(second.runtime, rows[0].time)] == [rows[1].time]


def test_a_row_that_was_not_written_is_written_by_the_next_one(tmp_path: Path) -> None:
    clock = HandClock()
    first = Life(tmp_path, clock)
    first.count(5)
    clock.now += 15.0
    first.history.write()
    # As if it had been killed before the row was in the file, or in its middle.
    for left in (b"", b'{"time":180'):
        first.runtime.history_rows.write_bytes(left)
        Life(tmp_path, clock)
        assert counted(tmp_path) == 5.0


def test_sums_that_can_not_be_read_begin_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = HandClock()
    Life(tmp_path, clock).count(5)
    RuntimeDir(tmp_path).history_sums.write_bytes(b"{}")
    second = Life(tmp_path, clock)
    assert "can not be read" in caplog.text
    second.count(7)
    second.history.write()
    # What was counted before nobody knows the time of.
    assert counted(tmp_path) == 2.0


def test_planes_that_have_not_told_yet_make_no_row(tmp_path: Path) -> None:
    life = Life(tmp_path, HandClock())
    life.planes.expect(["p"], life.clock.now)
    life.history.write()
    assert not life.runtime.history_rows.exists()
    life.clock.now += 10.0
    life.history.write()
    assert life.runtime.history_rows.exists()


def test_a_row_has_the_most_that_was_seen_since_the_one_before(tmp_path: Path) -> None:
    life = Life(tmp_path, HandClock())
    for active in (3, 8, 1):
        life.planes.counters(report(identity("p"), active=active), life.clock.now)
        life.history.look()
    life.history.write()
    life.history.write()
    assert [row.active for row in read_rows(life.runtime, 0.0)] == [8, 1]


def test_what_is_in_no_row_yet_is_told_without_writing_it(tmp_path: Path) -> None:
    life = Life(tmp_path, HandClock())
    life.planes.expect(["p"], life.clock.now)
    assert life.history.newest() is None
    life.count(5)
    life.clock.now += 6.0
    for _ in range(2):
        newest = life.history.newest()
        assert newest is not None
        assert (newest.seconds, newest.requests[0][-1], newest.time) == (6.0, 5.0, life.clock.wall())
    assert counted(tmp_path) == 0.0
    life.history.write()
    assert counted(tmp_path) == 5.0


def test_a_disk_that_takes_nothing_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    life = Life(tmp_path, HandClock())
    life.runtime.history_rows.mkdir()
    life.history.write()
    life.history.write()
    assert caplog.text.count("can not keep the history") == 1


def test_no_history_has_no_rows(tmp_path: Path) -> None:
    assert list(read_rows(RuntimeDir(tmp_path / "none"), 0.0)) == []
    assert last_time(RuntimeDir(tmp_path / "none")) == 0.0


class Lives(RuleBasedStateMachine):
    """However control planes die, rows lose nothing and count nothing twice."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.clock = HandClock()
        self.life = Life(self.folder, self.clock)
        self.count = 0

    @rule(more=st.integers(1, 9))
    def requests_end(self, more: int) -> None:
        self.clock.now += 1.0
        self.count += more
        self.life.count(self.count)

    @rule()
    def a_row_is_written(self) -> None:
        self.clock.now += 1.0
        self.life.history.write()

    @rule()
    def it_is_killed(self) -> None:
        self.clock.now += 1.0
        self.life = Life(self.folder, self.clock)

    @rule()
    def it_is_killed_before_its_row_is_whole(self) -> None:
        self.a_row_is_written()
        file = self.life.runtime.history_rows
        file.write_bytes(file.read_bytes()[:-9])
        self.it_is_killed()

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        assert counted(self.folder) <= self.count

    def teardown(self) -> None:
        self.a_row_is_written()
        assert counted(self.folder) == self.count
        shutil.rmtree(self.folder)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=10, stateful_step_count=10, deadline=None)
