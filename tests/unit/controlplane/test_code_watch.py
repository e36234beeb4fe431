"""Which of two processes of different code is the one to be replaced, and by whom."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec
import pytest

from controlplane.code_watch import CodeWatch, mixture
from controlplane.supervisor_socket import NoSupervisorError, Outcome, PlanesRestarted
from shared.plane_identity import PlaneIdentity
from shared.process import own_record
from shared.runtime_dir import PlaneRecord, ProcessRecord, RuntimeDir, SupervisorRecord, write_record

OWN = ProcessRecord(pid=9, start_ticks=1, version="0.1.0", started=10.0, wire="new")


def plane(slot: int, started: float, wire: str, plane_id: str = "") -> PlaneRecord:
    identity = PlaneIdentity(id=plane_id or f"{slot}", slot=slot, pid=slot, version="0.1.0", started=started, wire=wire)
    return PlaneRecord(process=OWN, identity=identity, fingerprint="")


def test_planes_of_equal_messages_go_on() -> None:
    assert mixture(OWN, [plane(0, 1.0, "new"), plane(1, 11.0, "new")]) == ((), False)


def test_older_planes_that_speak_otherwise_are_to_be_replaced() -> None:
    old = plane(1, 2.0, "old")
    assert mixture(OWN, [plane(0, 1.0, "new"), old]) == ((old,), False)


def test_a_younger_plane_that_speaks_otherwise_is_of_newer_code() -> None:
    assert mixture(OWN, [plane(0, 1.0, "new"), plane(1, 11.0, "newest")]) == ((), True)


def test_one_that_has_not_told_its_code_or_has_a_successor_counts_for_nothing() -> None:
    assert mixture(OWN, [plane(0, 11.0, ""), plane(1, 1.0, "old", "a"), plane(1, 11.0, "new", "b")]) == ((), False)


class Scene:
    """A router of this process: it is the supervisor, and each of its planes."""

    def __init__(self, folder: Path, *planes: PlaneRecord, outcome: Outcome | None = "restarted") -> None:
        runtime = RuntimeDir(folder / "run")
        runtime.prepare()
        us = own_record()
        record = SupervisorRecord(pid=us.pid, start_ticks=us.start_ticks, version="", started=0.0)
        write_record(runtime.supervisor, record)
        for one in planes:
            write_record(runtime.plane(one.identity.id), msgspec.structs.replace(one, process=us))
        self.asked: list[tuple[int, ...]] = []
        self.ends = 0
        self.outcome = outcome
        self.watch = CodeWatch(runtime, OWN, self.restart, self.end)

    async def restart(self, slots: tuple[int, ...]) -> PlanesRestarted:
        self.asked.append(slots)
        if self.outcome is None:
            raise NoSupervisorError("nobody is there")
        return PlanesRestarted(outcome=self.outcome, reason="it did not serve")

    def end(self) -> None:
        self.ends += 1

    def look(self, times: int) -> None:
        for _ in range(times):
            asyncio.run(self.watch.look())


def test_older_planes_are_replaced_in_one_roll(tmp_path: Path) -> None:
    scene = Scene(tmp_path, plane(0, 1.0, "old"), plane(1, 1.0, "new"), plane(2, 1.0, "older"))
    scene.look(1)
    assert (scene.asked, scene.ends) == ([(0, 2)], 0)


@pytest.mark.parametrize(("outcome", "asked"), [("refused", 3), (None, 3), ("stopped", 1)])
def test_what_was_in_vain_is_tried_again_but_not_where_planes_do_not_come_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, outcome: Outcome | None, asked: int
) -> None:
    scene = Scene(tmp_path, plane(0, 1.0, "old"), outcome=outcome)
    with caplog.at_level(logging.WARNING):
        scene.look(3)
    assert scene.asked == [(0,)] * asked
    assert ("run `routerctl start` again" in caplog.text) == (outcome == "stopped")


def test_an_outdated_control_plane_ends_where_somebody_starts_another(tmp_path: Path) -> None:
    scene = Scene(tmp_path, plane(0, 1.0, "old"), plane(1, 11.0, "newest"))
    scene.look(1)
    assert (scene.asked, scene.ends) == ([], 1)


def test_without_a_supervisor_it_goes_on(tmp_path: Path) -> None:
    scene = Scene(tmp_path, plane(1, 11.0, "newest"))
    RuntimeDir(tmp_path / "run").supervisor.unlink()
    scene.look(1)
    assert (scene.asked, scene.ends) == ([], 0)
