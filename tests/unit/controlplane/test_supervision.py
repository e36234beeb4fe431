from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.supervision import (
    LONGEST_PAUSE,
    LONGEST_ROUND,
    after_death,
    after_round,
    has_table,
    missing_for_ready,
    plan_planes,
    ready_line,
    slots_for,
    verdict,
    why_replaced,
)
from shared.messages import ControlStatus, PlaneStatus
from shared.plane_identity import PlaneIdentity
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
        heard_age=None,
        waits_for="",
        lacks=(),
        pairs=None,
        stale=False,
        active=0,
        client_connections=0,
        client_connection_limit=400,
    )


CONTROL = ControlStatus(
    pid=1, version="0.1.0", stamp=Stamp(7, 3, 0), workers=4, ready_workers=2, refused="", ports_settled=True
)


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


class TestSlotsFor:
    def test_planes_of_unknown_slots_take_those_that_nobody_has_and_then_others(self) -> None:
        assert slots_for(["a", "b", "c"], taken=[1], count=3) == {"a": 0, "b": 2, "c": 3}
        assert slots_for(["a"], taken=[0, 5], count=1) == {"a": 1}
        assert slots_for([], taken=[0], count=1) == {}

    def test_what_is_said_of_one_that_is_replaced_is_true(self) -> None:
        assert why_replaced("a", {"a"}) == "has a record that can not be read"
        assert why_replaced("b", {"a"}) == "runs with other settings or of another version"


class TestReady:
    @pytest.mark.parametrize(
        ("control", "planes", "missing"),
        [
            pytest.param(CONTROL, [plane(), plane()], None, id="ready"),
            pytest.param(None, [plane()], "the control plane", id="no-control-plane"),
            pytest.param(CONTROL, [plane(), None], "plane 1", id="no-answer"),
            pytest.param(
                msgspec.structs.replace(CONTROL, ports_settled=False), [plane(), plane()], "ports", id="no-ports"
            ),
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

    def test_a_plane_that_keeps_the_table_before_is_told_with_its_reason(self) -> None:
        kept = plane(table=Stamp(6, 9, 0))
        found = missing_for_ready(CONTROL, [kept], needs_worker=True)
        assert found == "plane 0 to take this control plane's table in place of the one before"
        refused = msgspec.structs.replace(CONTROL, refused="no policy `x`")
        found = missing_for_ready(refused, [kept], needs_worker=True)
        assert found is not None
        assert found.endswith(", and it refuses that: no policy `x`")

    def test_without_worker_urls_none_is_needed(self) -> None:
        assert missing_for_ready(CONTROL, [plane(ready_workers=0)], needs_worker=False) is None

    def test_a_table_of_any_publisher(self) -> None:
        assert has_table(plane(table=Stamp(1, 1, 0)), None)
        assert not has_table(None, None)

    def test_the_line(self) -> None:
        assert ready_line("http://h:1", CONTROL, 2) == "ready: http://h:1 (2 planes, 2 of 4 workers ready, table 3)"
        assert "(1 plane, " in ready_line("http://h:1", CONTROL, 1)


def rounds(*answers: dict[int, bool], passed: float = 1.0) -> list[dict[int, float]]:
    """Play rounds in which these processes answer or not; return each one's silence in seconds."""
    silences: dict[int, float] = {}
    seen = []
    for answered in answers:
        silences = after_round(silences, answered, passed)
        seen.append(silences)
    return seen


class TestSilence:
    def test_it_grows_while_others_answer_and_ends_with_an_answer(self) -> None:
        both, one = {1: True, 2: True}, {1: False, 2: True}
        assert rounds(both, one, one, both) == [{1: 0, 2: 0}, {1: 1, 2: 0}, {1: 2, 2: 0}, {1: 0, 2: 0}]

    def test_it_does_not_count_while_nobody_answers(self) -> None:
        nobody = {1: False, 2: False}
        assert rounds(nobody, nobody, {1: False, 2: True})[-1] == {1: 1, 2: 0}

    def test_a_pause_of_the_supervisor_counts_as_one_round(self) -> None:
        assert rounds({1: False, 2: True}, passed=3600.0) == [{1: LONGEST_ROUND, 2: 0}]

    def test_who_is_asked_no_more_is_forgotten(self) -> None:
        one = {1: False, 2: True}
        assert rounds(one, {2: True}, one)[-1] == {1: 1, 2: 0}


class TestVerdict:
    @staticmethod
    def verdicts(limit: float, *silences: float) -> list[str]:
        return [verdict(before, after, limit) for before, after in itertools.pairwise((0.0, *silences))]

    def test_told_once_then_replaced(self) -> None:
        assert self.verdicts(60, 0, 9, 10, 11, 59, 60, 61) == ["", "", "hung", "", "", "replace", ""]

    def test_tried_again_when_it_did_not_work(self) -> None:
        assert self.verdicts(60, 60, 61, 119, 121) == ["replace", "", "", "replace"]

    def test_back_is_told_only_of_what_was_told_before(self) -> None:
        assert self.verdicts(60, 0, 9, 0, 12, 0, 0) == ["", "", "", "hung", "back", ""]

    def test_without_a_limit_it_is_only_told(self) -> None:
        assert self.verdicts(0, 0, 10, 1e6, 0) == ["", "hung", "", "back"]

    def test_a_limit_below_the_telling(self) -> None:
        assert self.verdicts(3, 0, 2, 3, 0) == ["", "", "replace", "back"]

    @given(
        st.lists(st.tuples(st.dictionaries(st.integers(1, 3), st.booleans()), st.floats(0, 1e4)), max_size=40),
        st.floats(1, 100),
    )
    def test_nobody_is_replaced_before_others_answered_for_so_long(
        self, history: list[tuple[dict[int, bool], float]], limit: float
    ) -> None:
        silences: dict[int, float] = {}
        heard_beside = dict.fromkeys((1, 2, 3), 0.0)
        for answered, passed in history:
            after = after_round(silences, answered, passed)
            for pid, silence in after.items():
                if answered[pid]:
                    heard_beside[pid] = 0.0
                elif any(did for other, did in answered.items() if other != pid):
                    heard_beside[pid] += min(passed, LONGEST_ROUND)
                if verdict(silences.get(pid, 0.0), silence, limit) == "replace":
                    assert heard_beside[pid] * (1 + 1e-9) >= limit
            silences = after
