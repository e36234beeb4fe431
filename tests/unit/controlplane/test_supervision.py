from __future__ import annotations

import pytest

from controlplane.supervision import LONGEST_PAUSE, after_death, has_table, missing_for_ready, plan_planes, ready_line
from shared.messages import ControlStatus, PlaneIdentity, PlaneStatus
from shared.runtime_dir import PlaneRecord, ProcessRecord
from shared.table import Stamp

OURS = "0.1.0 127.0.0.1:30000 grace=25 log=info"
OTHER = "0.0.9 127.0.0.1:30000 grace=25 log=info"
TABLE = Stamp(7, 3, 0)


def record(plane_id: str, slot: int, fingerprint: str = OURS, started: float = 1.0) -> PlaneRecord:
    return PlaneRecord(
        process=ProcessRecord(pid=1, start_ticks=1, version="0.1.0", started=started),
        identity=PlaneIdentity(id=plane_id, slot=slot, pid=1, version="0.1.0", started=started),
        fingerprint=fingerprint,
    )


def plane(*, listening: bool = True, table: Stamp | None = TABLE, ready_workers: int = 2) -> PlaneStatus:
    return PlaneStatus(
        plane=PlaneIdentity(id="a", slot=0, pid=1, version="0.1.0", started=0.0),
        fingerprint=OURS,
        listening=listening,
        table=table,
        table_age=0.0,
        workers=2,
        ready_workers=ready_workers,
        stale=False,
        active=0,
        client_connections=0,
        client_connection_limit=400,
    )


CONTROL = ControlStatus(pid=1, version="0.1.0", stamp=Stamp(7, 3, 0), workers=4, ready_workers=2)


class TestAfterDeath:
    def test_the_pauses_of_a_crash_loop(self) -> None:
        deaths, pauses = 0, []
        for _ in range(10):
            restart = after_death(deaths, lifetime=0.1)
            deaths = restart.deaths
            pauses.append(restart.pause)
        assert pauses == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]

    def test_a_life_of_a_minute_starts_a_new_series(self) -> None:
        assert after_death(9, lifetime=60.0).pause == 0.0
        assert after_death(9, lifetime=59.9).pause == LONGEST_PAUSE

    def test_a_very_long_series_does_not_overflow(self) -> None:
        assert after_death(100_000, lifetime=0.0).pause == LONGEST_PAUSE


class TestPlanPlanes:
    def test_nothing_runs_so_all_are_started(self) -> None:
        plan = plan_planes([], OURS, 3)
        assert plan.start == (0, 1, 2)
        assert plan.is_first_start

    def test_planes_of_our_fingerprint_are_adopted_and_others_replaced(self) -> None:
        plan = plan_planes([record("a", 0), record("b", 1, OTHER)], OURS, 3)
        assert {slot: found.identity.id for slot, found in plan.adopt.items()} == {0: "a"}
        assert {slot: found.identity.id for slot, found in plan.replace.items()} == {1: "b"}
        assert plan.start == (2,)
        assert plan.stop == ()
        assert not plan.is_first_start

    def test_planes_beyond_the_number_wanted_are_stopped(self) -> None:
        plan = plan_planes([record("a", 0), record("b", 1), record("c", 2, OTHER)], OURS, 1)
        assert sorted(found.identity.id for found in plan.stop) == ["b", "c"]

    @pytest.mark.parametrize(
        ("running", "kept"),
        [
            pytest.param([record("old", 0, started=1.0), record("new", 0, started=2.0)], "new", id="younger"),
            pytest.param([record("a", 0, started=1.0), record("b", 0, OTHER, started=2.0)], "a", id="ours-first"),
        ],
    )
    def test_of_two_planes_in_one_slot_one_goes(self, running: list[PlaneRecord], kept: str) -> None:
        plan = plan_planes(running, OURS, 1)
        assert plan.adopt[0].identity.id == kept
        assert len(plan.stop) == 1
        assert not plan.replace


class TestReady:
    @pytest.mark.parametrize(
        ("control", "planes", "missing"),
        [
            pytest.param(CONTROL, [plane(), plane()], None, id="ready"),
            pytest.param(None, [plane()], "the control plane", id="no-control-plane"),
            pytest.param(CONTROL, [plane(), None], "plane 1", id="no-answer"),
            pytest.param(CONTROL, [plane(listening=False)], "plane 0", id="not-listening"),
            pytest.param(CONTROL, [plane(table=None)], "plane 0", id="no-table"),
            pytest.param(CONTROL, [plane(table=Stamp(6, 9, 0))], "plane 0", id="table-of-an-earlier-publisher"),
            pytest.param(CONTROL, [plane(), plane(ready_workers=0)], "a worker", id="no-worker"),
        ],
    )
    def test_what_is_missing(
        self, control: ControlStatus | None, planes: list[PlaneStatus | None], missing: str | None
    ) -> None:
        found = missing_for_ready(control, planes, needs_worker=True)
        assert (found is None) if missing is None else (found is not None and missing in found)

    def test_without_worker_urls_none_is_needed(self) -> None:
        assert missing_for_ready(CONTROL, [plane(ready_workers=0)], needs_worker=False) is None

    def test_a_table_of_any_publisher(self) -> None:
        assert has_table(plane(table=Stamp(1, 1, 0)), None)
        assert not has_table(None, None)

    def test_the_line(self) -> None:
        assert ready_line("http://h:1", CONTROL, 2) == "ready: http://h:1 (2 planes, 2 of 4 workers ready, table 3)"
        assert "(1 plane, " in ready_line("http://h:1", CONTROL, 1)
