"""What holds while no control plane runs, and when the next one comes: the state table of the architecture page."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from controlplane.children import own_commands
from shared.table import Worker
from tests.faults.crew import Crew
from tests.faults.load import Load
from tests.integration.routers import eventually, free_ports, simulated_fleet


@contextmanager
def crew_of_two(folder: Path, workers: list[str], **config: object) -> Iterator[Crew]:
    crew = Crew(folder, workers, data_planes=2, **config)
    try:
        yield crew.start(planes=2)
    finally:
        crew.close()


@contextmanager
def worker_on(folder: Path, port: int) -> Iterator[str]:
    """A simulated worker in a process of its own; it is killed at the end."""
    with simulated_fleet(folder, 1, f"--port={port}", "--time-scale=0") as (url,):
        yield url


def loads(crew: Crew) -> set[int]:
    """The engines' loads as some plane knows them; -1 is not known."""
    answer = httpx.get(f"{crew.url}/get_loads", trust_env=False).json()
    return {one["load"] for one in answer["workers"]}


def more(load: Load, count: int) -> None:
    goal = load.total + count
    eventually(lambda: load.total >= goal or bool(load.failed), f"{count} more answers")


def test_g_cp_1_the_table_freezes_ages_are_told_and_loads_are_forgotten(tmp_path: Path) -> None:
    with (
        simulated_fleet(tmp_path, 3, "--time-scale=0", "--record=0") as workers,
        crew_of_two(tmp_path, workers) as crew,
        Load(crew.url, 4) as load,
    ):
        more(load, 100)
        # The last that the table learns of a worker that is well.
        eventually(lambda: all(told.process_start for told in crew.kept().values()), "all to tell their start")
        crew.level()
        eventually(lambda: -1 not in loads(crew), "every engine's load")
        (stamp,) = {told.table for told in crew.statuses()}

        crew.kill(crew.control_plane)
        eventually(lambda: crew.all_planes(lambda told: told.stale), "the planes to know that they are alone")
        eventually(lambda: loads(crew) == {-1}, "the loads to be forgotten")
        # For ever can not be waited for: ages go on growing and nothing else happens.
        ages = [told.table_age for told in crew.statuses()]
        eventually(lambda: min(told.table_age for told in crew.statuses()) > max(ages) + 1, "the tables to age")
        assert {told.table for told in crew.statuses()} == {stamp}
        more(load, 200)
        assert load.failed == []

        # A plane that starts now serves the same table, from disk.
        crew.start_plane()
        crew.ready()
        assert {told.table for told in crew.statuses()} == {stamp}
        more(load, 200)

        crew.start_control_plane()
        crew.level()
        eventually(lambda: -1 not in loads(crew), "the loads to be known again")
        eventually(lambda: max(told.table_age for told in crew.statuses()) < 1, "the tables to be confirmed")
        more(load, 100)
    assert load.failed == []


@pytest.mark.parametrize("alone", [False, True], ids=["control plane runs", "control plane is away"])
def test_g_disc_3_a_worker_restarted_on_its_address_has_a_new_life(tmp_path: Path, alone: bool) -> None:
    (port,) = free_ports(1)
    with ExitStack() as stack:
        (other,) = stack.enter_context(simulated_fleet(tmp_path, 1, "--time-scale=0"))
        (tmp_path / "one").mkdir()
        with worker_on(tmp_path / "one", port) as url:
            crew = stack.enter_context(crew_of_two(tmp_path, [url, other]))
            for _ in range(20):
                assert ask(crew) == 200
            eventually(lambda: all(told.process_start for told in crew.kept().values()), "both to tell their start")
            first = crew.kept()
            assert {told.epoch for told in first.values()} == {1}
            if alone:
                crew.kill(crew.control_plane)
        with worker_on(tmp_path / "one", port):
            if alone:
                crew.start_control_plane()
            eventually(lambda: is_new_life(first[url], crew.kept().get(url)), "its new life")
            crew.level()
            crew.ready()
            assert crew.kept()[other] == first[other], "the other one was not restarted"
            for _ in range(20):
                assert ask(crew) == 200
            # What is told of the worker is told of this life.
            inflight = f'routerctl_worker_inflight{{worker="{url}"}}'
            eventually(lambda: crew.scraped()[inflight] == 0, "planes to have told that nothing is in flight")
            assert f"worker {url} was restarted" in crew.logged


def is_new_life(before: Worker, now: Worker | None) -> bool:
    if now is None or (now.epoch, now.state) != (before.epoch + 1, "ready"):
        return False
    return now.process_start not in (None, before.process_start)


def ask(crew: Crew) -> int:
    body = {"model": "sim-model", "prompt": "x", "max_tokens": 2}
    return httpx.post(f"{crew.url}/v1/completions", json=body, trust_env=False, timeout=30).status_code


def test_a_second_control_plane_on_the_folder_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    with (
        simulated_fleet(tmp_path, 2, "--time-scale=0", "--record=0") as workers,
        crew_of_two(tmp_path, workers) as crew,
        Load(crew.url, 4) as load,
    ):
        more(load, 50)
        first = crew.control()
        assert first is not None
        record = crew.runtime.control_plane.read_bytes()
        second = subprocess.run(own_commands(crew.runtime).control_plane, capture_output=True, text=True, timeout=60)
        assert second.returncode == 1
        assert f"another control plane runs on {crew.runtime.path}; stop it first" in second.stderr
        after = crew.control()
        assert after is not None
        assert (after.pid, after.stamp.epoch) == (first.pid, first.stamp.epoch)
        assert crew.runtime.control_plane.read_bytes() == record
        crew.level()
        more(load, 50)
    assert load.failed == []


def test_what_a_dead_control_plane_left_is_in_nobodys_way(tmp_path: Path) -> None:
    with simulated_fleet(tmp_path, 2, "--time-scale=0", "--record=0") as workers:
        crew = Crew(tmp_path, workers, data_planes=1)
        try:
            for endpoint in (crew.runtime.publish_endpoint, crew.runtime.control_endpoint):
                Path(endpoint.removeprefix("ipc://")).write_text("no socket")
            # A plane that starts first waits at the stale files.
            crew.start_plane()
            crew.start_control_plane()
            crew.ready()
            # Sockets that nobody listens at, a record of a process that is no more, and half a file.
            crew.kill(crew.control_plane)
            (crew.runtime.path / ".table.msgpack.1").write_bytes(b"\x81")
            crew.start_control_plane()
            crew.level()
        finally:
            crew.close()
