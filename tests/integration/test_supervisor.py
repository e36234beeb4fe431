"""The promises of `routerctl start` about its processes, kept by real ones."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from shared.process import is_alive, living_planes, start_ticks
from shared.runtime_dir import ProcessRecord, read_record
from tests.integration.routers import PATIENCE, Router, eventually, free_ports, simulated_fleet

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with simulated_fleet(tmp_path_factory.mktemp("fleet"), 2, "--time-scale=0") as urls:
        yield urls


@pytest.fixture
def router(tmp_path: Path, workers: list[str]) -> Iterator[Router]:
    router = Router(tmp_path, "--data-planes=2", "--worker-urls", *workers)
    try:
        yield router
    finally:
        router.close()


def title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().strip("\0 ")


def answers(router: Router) -> bool:
    return httpx.get(f"{router.url}/v1/models", trust_env=False).status_code == 200


def test_a_start_serves_and_a_stop_leaves_nothing(router: Router) -> None:
    line = router.start().ready()
    assert line.startswith(f"ready: {router.url} (2 planes, ")
    assert answers(router)
    control_plane = router.control_plane_pid()
    assert control_plane is not None
    assert title(router.process.pid) == "routerctl: supervisor"
    assert title(control_plane) == "routerctl: control plane"
    assert len({title(pid) for pid in router.plane_pids()}) == 2
    assert router.stop() == 0
    assert router.survivors() == []
    assert list(router.runtime.planes.iterdir()) == []
    assert list(router.runtime.path.glob("plane-*")) == []
    assert not router.runtime.supervisor.exists()
    assert not router.runtime.control_plane.exists()


def test_a_killed_plane_is_replaced_and_its_death_told(router: Router) -> None:
    router.start().ready()
    before = router.plane_pids()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: len(router.plane_pids() - before) == 1, "another plane")
    (new,) = router.plane_pids() - before
    eventually(lambda: any(f"(pid {new}) serves" in line for line in router.supervisor_lines), "it to serve")
    assert router.plane_pids() == before - {victim} | {new}
    (death,) = [line for line in router.supervisor_lines if f"(pid {victim}) was killed by SIGKILL" in line]
    assert death.endswith("starting another now")
    assert answers(router)


def test_planes_outlive_the_others_and_are_adopted(router: Router) -> None:
    router.start().ready()
    planes, control_plane = router.plane_pids(), router.control_plane_pid()
    assert control_plane is not None
    router.kill_supervisor()
    os.kill(control_plane, signal.SIGKILL)
    eventually(lambda: start_ticks(control_plane) is None, "the control plane's end")
    assert answers(router)
    router.start().ready()
    assert router.plane_pids() == planes
    assert router.control_plane_pid() not in (None, control_plane)
    assert answers(router)
    assert router.stop() == 0
    assert router.survivors() == []


BROKEN_POLICY = """
from dataplane.policies import Policy


class Broken(Policy):
    def __init__(self, plane):
        raise RuntimeError("it broke")

    def pick(self, candidates, request, why=None):
        return 0
"""


def test_a_control_plane_that_was_left_running_is_replaced(router: Router) -> None:
    router.start().ready()
    planes, control_plane = router.plane_pids(), router.control_plane_pid()
    router.kill_supervisor()
    router.start().ready()
    assert router.plane_pids() == planes
    # Planes serve without it.
    eventually(lambda: router.control_plane_pid() not in (None, control_plane), "another control plane")
    # An adopted plane is watched like a child.
    os.kill(min(planes), signal.SIGKILL)
    eventually(lambda: len(router.plane_pids() - planes) == 1, "a new plane in place of the adopted one")


def test_a_first_start_with_what_planes_refuse_ends_and_says_why(
    router: Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    (router.folder / "broken_policy.py").write_text(BROKEN_POLICY)
    monkeypatch.setenv("PYTHONPATH", str(router.folder), prepend=os.pathsep)
    router.start("--policy=broken_policy:Broken")
    assert router.process.wait(30) == 1
    assert "a plane can not serve by this configuration: " in router.errors
    assert "it broke" in router.errors
    assert router.output == ""


def test_planes_with_other_settings_are_replaced_and_surplus_ones_stopped(router: Router) -> None:
    router.start().ready()
    planes = router.plane_pids()
    router.kill_supervisor()
    router.start("--data-planes=1").ready()
    eventually(lambda: len(router.plane_pids()) == 1, "the surplus plane's end")
    assert router.plane_pids() < planes
    router.kill_supervisor()
    router.start("--data-planes=2", "--shutdown-grace-secs=3").ready()
    eventually(lambda: len(router.plane_pids()) == 2, "the old plane's end")
    assert not router.plane_pids() & planes
    assert answers(router)


def copied_code(folder: Path) -> Path:
    copy = folder / "before"
    for package in ("controlplane", "dataplane", "shared"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def change_code(copy: Path, before: str, after: str) -> None:
    messages = copy / "shared" / "messages.py"
    text = messages.read_text()
    assert before in text
    messages.write_text(text.replace(before, after))


def wires(router: Router) -> set[str]:
    """What the code of each plane speaks that runs, and of the control plane."""
    planes = [record.identity.wire for record in living_planes(router.runtime)]
    control = read_record(router.runtime.control_plane, ProcessRecord)
    return {*planes, control.wire if control is not None and is_alive(control) else ""}


def test_a_control_plane_of_newer_code_replaces_the_planes_and_one_of_older_code_itself(
    router: Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package was replaced while the router lives: what dies is started from the new code."""
    code = copied_code(tmp_path)
    monkeypatch.chdir(code)
    monkeypatch.setenv("PYTHONPATH", str(code))
    router.start().ready()
    (old,) = wires(router)
    change_code(code, "class Goodbye(", "class Farewell(msgspec.Struct, tag='farewell'):\n    pass\n\n\nclass Goodbye(")
    change_code(code, "    | Goodbye\n", "    | Goodbye\n    | Farewell\n")
    control_plane = router.control_plane_pid()
    assert control_plane is not None
    planes = router.plane_pids()
    os.kill(control_plane, signal.SIGKILL)
    eventually(lambda: len(wires(router) - {""}) == 1 and not wires(router) & {"", old}, "all of the newer code")
    assert not router.plane_pids() & planes
    assert answers(router)
    (newer,) = wires(router)
    change_code(code, "tag='farewell'", "tag='farewell-to-all'")
    os.kill(min(router.plane_pids()), signal.SIGKILL)
    eventually(lambda: len(wires(router) - {""}) == 1 and not wires(router) & {"", newer}, "all of the newest code")
    assert answers(router)


def test_planes_of_other_code_of_the_same_version_are_replaced(
    router: Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plane that can not be understood is not adopted, and waited for without an end."""
    before = copied_code(tmp_path)
    change_code(before, 'tag="plane-status"', 'tag="status-of-plane"')
    with monkeypatch.context() as changed:
        changed.chdir(before)
        changed.setenv("PYTHONPATH", str(before))
        router.start().ready()
    planes = router.plane_pids()
    router.kill_supervisor()
    router.start().ready()
    eventually(lambda: len(router.plane_pids()) == 2, "the old planes' end")
    assert not router.plane_pids() & planes
    assert answers(router)


def test_planes_whose_records_can_not_be_read_are_replaced(router: Router) -> None:
    """They would go on by an old table, and take their part of new clients, for as long as nobody looks for them."""
    router.start().ready()
    planes, control_plane = router.plane_pids(), router.control_plane_pid()
    assert control_plane is not None
    router.kill_supervisor()
    # Else they write their records again.
    for pid in (*planes, control_plane):
        os.kill(pid, signal.SIGSTOP)
    torn, removed = sorted(router.runtime.planes.glob("*.json"))
    torn.write_text("{")
    removed.unlink()
    for path in router.runtime.path.glob(f"plane-{removed.stem}*"):
        path.unlink()
    router.runtime.control_plane.write_text("{")
    counted = "can not be read: it counts as plane"
    router.start()
    eventually(lambda: sum(counted in line for line in router.supervisor_lines) == 2, "both to be found")
    for pid in (*planes, control_plane):
        if start_ticks(pid) is not None:
            os.kill(pid, signal.SIGCONT)
    router.ready()
    eventually(lambda: not any(map(start_ticks, planes)), "the old planes' end")
    assert start_ticks(control_plane) is None
    assert len(router.plane_pids()) == 2
    assert sum("has a record that can not be read: replacing it" in line for line in router.supervisor_lines) == 2
    assert answers(router)


def test_records_that_are_lost_come_back(router: Router) -> None:
    router.start().ready()
    planes, control_plane = router.plane_pids(), router.control_plane_pid()
    for path in (router.runtime.control_plane, *router.runtime.planes.glob("*.json")):
        path.unlink()
    eventually(lambda: router.control_plane_pid() == control_plane, "the control plane's")
    eventually(lambda: router.plane_pids() == planes, "the planes'")


@pytest.mark.slow
def test_a_runtime_folder_that_was_removed_is_told_with_what_to_do(router: Router) -> None:
    router.start().ready()
    pids = router.plane_pids()
    away = router.folder / "away"
    router.runtime.path.rename(away)
    os.kill(min(pids), signal.SIGKILL)
    eventually(lambda: "Something removed it while the router ran" in router.errors, "the word")
    assert "Traceback" not in router.errors
    assert answers(router)
    away.rename(router.runtime.path)
    eventually(lambda: len(router.plane_pids()) == 2, "another plane")


def test_a_second_router_on_the_same_folder_harms_nothing(router: Router) -> None:
    router.start().ready()
    planes = router.plane_pids()
    command = (sys.executable, "-m", "controlplane.cli", "start", "--runtime-dir", str(router.runtime.path))
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    (line,) = second.stderr.splitlines()
    assert f"process {router.process.pid}" in line
    assert "--runtime-dir" in line
    assert router.plane_pids() == planes
    assert answers(router)


@pytest.mark.parametrize("flag", ["--port", "--admin-port", "--prometheus-port"])
def test_a_port_that_somebody_has_is_named(router: Router, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        assert router.start(f"{flag}={port}").process.wait(PATIENCE) == 1
    (line,) = router.errors.splitlines()
    assert f"can not listen on 127.0.0.1:{port}" in line
    assert flag in line
    assert not router.runtime.config.exists()


def test_a_start_without_a_ready_worker_gives_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        router = Router(tmp_path, "--data-planes=1", "--worker-startup-timeout-secs=1", "--worker-urls", url)
        try:
            assert router.start().process.wait(PATIENCE) == 1
            assert any("no worker became ready within 1 s" in line for line in router.supervisor_lines)
            assert router.output == ""
            assert router.survivors() == []
        finally:
            router.close()


def test_a_stop_waits_for_streams_and_a_second_signal_does_not(tmp_path: Path) -> None:
    body = {"model": "sim-model", "prompt": "x", "max_tokens": 20, "stream": True, "ignore_eos": True}
    with simulated_fleet(tmp_path, 1, "--decode-ms=50") as workers:
        router = Router(tmp_path, "--data-planes=1", "--worker-urls", *workers)
        try:
            router.start().ready()
            with httpx.stream("POST", f"{router.url}/v1/completions", json=body, trust_env=False) as answer:
                lines = answer.iter_lines()
                next(lines)
                router.process.terminate()
                assert [line for line in lines if line][-1] == "data: [DONE]"
            assert router.process.wait(PATIENCE) == 0

            router.start().ready()
            endless = {**body, "max_tokens": 10_000}
            with httpx.stream("POST", f"{router.url}/v1/completions", json=endless, trust_env=False) as answer:
                lines = answer.iter_lines()
                next(lines)
                router.process.terminate()
                eventually(lambda: any("SIGTERM: stopping" in line for line in router.supervisor_lines), "the stop")
                router.process.terminate()
                with pytest.raises(httpx.TransportError):
                    list(lines)
            assert router.process.wait(PATIENCE) == 1
            assert router.survivors() == []
        finally:
            router.close()


def test_a_stopped_routers_table_is_not_served_by_the_next(tmp_path: Path, workers: list[str]) -> None:
    """The workers of before may be somebody else's by now; and they must not make the new router look ready."""
    first = Router(tmp_path, "--data-planes=1", "--worker-urls", *workers)
    try:
        first.start().ready()
        assert first.stop() == 0
    finally:
        first.close()
    nowhere = [f"http://127.0.0.1:{port}" for port in free_ports(2)]
    second = Router(tmp_path, "--data-planes=1", "--worker-startup-timeout-secs=2", "--worker-urls", *nowhere)
    try:
        second.start()
        statuses: set[int] = set()

        def gave_up() -> bool:
            with suppress(httpx.HTTPError):
                answer = httpx.post(f"{second.url}/v1/completions", json={"model": "sim-model"}, trust_env=False)
                statuses.add(answer.status_code)
            return second.process.poll() is not None

        eventually(gave_up, "the start to fail")
        assert second.process.returncode == 1
        assert second.output == ""
        assert statuses == {503}
    finally:
        second.close()
