"""Processes are killed while eight clients ask without a pause."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from controlplane.inquiry import plane_status
from shared.messages import PlaneStatus
from shared.runtime_dir import PlaneRecord, read_record
from shared.sockets import Context
from tests.faults.load import Load
from tests.integration.routers import Router, eventually, simulated_fleet

CLIENTS = 8


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[str]]:
    with simulated_fleet(tmp_path, 3, "--time-scale=0", "--record=0") as urls:
        yield urls


@pytest.fixture
def router(tmp_path: Path, workers: list[str]) -> Iterator[Router]:
    router = Router(tmp_path, "--data-planes=2", "--worker-urls", *workers)
    try:
        router.start().ready()
        yield router
    finally:
        router.close()


def statuses(router: Router) -> list[PlaneStatus]:
    """How each plane that runs is, by itself."""
    import asyncio

    async def ask() -> list[PlaneStatus]:
        context = Context()
        records = [read_record(path, PlaneRecord) for path in router.runtime.planes.glob("*.json")]
        found = [
            await plane_status(context, router.runtime, record.identity.id, timeout=5)
            for record in records
            if record is not None and record.process.pid in router.plane_pids()
        ]
        context.destroy(linger=0)
        return [status for status in found if status is not None]

    return asyncio.run(ask())


def epochs(router: Router) -> set[int]:
    return {status.table.epoch if status.table is not None else -1 for status in statuses(router)}


def more_answers(load: Load, count: int) -> None:
    """Wait until as many more requests were answered."""
    goal = load.total + count
    eventually(lambda: load.total >= goal or bool(load.failed), f"{count} more answers")


def test_g_cp_1_no_request_fails_when_everything_but_the_planes_dies(router: Router, workers: list[str]) -> None:
    planes = router.plane_pids()
    (first_epoch,) = epochs(router)

    with Load(router.url, CLIENTS) as load:
        more_answers(load, 200)

        control_plane = router.control_plane_pid()
        assert control_plane is not None
        os.kill(control_plane, signal.SIGKILL)
        more_answers(load, 200)
        eventually(lambda: router.control_plane_pid() not in (None, control_plane), "another control plane")
        eventually(lambda: min(epochs(router)) > first_epoch, "its table on every plane")
        (second_epoch,) = epochs(router)

        router.kill_supervisor()
        control_plane = router.control_plane_pid()
        assert control_plane is not None
        os.kill(control_plane, signal.SIGKILL)
        more_answers(load, 200)
        eventually(lambda: all(status.stale for status in statuses(router)), "the planes to know that they are alone")

        httpx.post(f"{workers[0]}/sim/faults", json={"name": "die", "worker": True, "path": "/"})
        more_answers(load, 400)

        router.start().ready()
        eventually(lambda: min(epochs(router)) > second_epoch, "the new table on every plane")
        more_answers(load, 200)

    assert load.failed == []
    assert router.plane_pids() == planes
    assert all(status.active == 0 and not status.stale for status in statuses(router))


def test_g_cp_2_a_killed_plane_costs_its_own_requests_only(router: Router) -> None:
    before = router.plane_pids()
    victim = min(before)

    with Load(router.url, CLIENTS) as load:
        eventually(lambda: min(load.answered) > 20, "every client to be answered")
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(router.plane_pids()) == 2 and victim not in router.plane_pids(), "another plane")
        eventually(lambda: len(statuses(router)) == 2, "it to tell its state")
        eventually(lambda: all(status.listening for status in statuses(router)), "it to listen")
        goal = [answered + 50 for answered in load.answered]
        eventually(lambda: all(now >= then for now, then in zip(load.answered, goal, strict=True)), "everybody")

    # A client loses the request that was under way on the dead plane, and perhaps the one whose connection
    # waited in its backlog; those of the other plane lose nothing.
    assert all(len(failures) <= 2 for failures in load.failures), load.failures
    assert any(not failures for failures in load.failures), load.failures
    assert before - {victim} <= router.plane_pids()
