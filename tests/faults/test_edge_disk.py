"""G-EDGE-5: the runtime folder's disk is full: requests go on, each cause is logged once, and it recovers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from controlplane.last_known_good import read_table
from shared.runtime_dir import RuntimeDir
from tests.faults.edge import adds_up
from tests.faults.load import Load
from tests.integration.routers import Router, eventually, samples, simulated_fleet


@pytest.fixture
def small_disk(short_path: Path) -> Iterator[Path]:
    """A folder on a disk of 256 KB."""
    folder = short_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"a small disk can not be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no room."""
    filler = folder / "filler"
    with open(filler, "wb", buffering=0) as file:
        while True:
            try:
                file.write(b"x" * 1024)
            except OSError:
                return filler


def more(load: Load, count: int) -> None:
    goal = load.total + count
    eventually(lambda: load.total >= goal or bool(load.failed), f"{count} more answers")


def workers_up(router: Router) -> float | None:
    """How many workers the control plane calls ready; None while there is no control plane."""
    try:
        return samples(router).get("routerctl_worker_up")
    except httpx.TransportError:
        return None


def states(router: Router) -> dict[str, str]:
    table = read_table(router.runtime)
    return {} if table is None else {worker.url: worker.state for worker in table.workers.values()}


def has_no_record(router: Router) -> bool:
    """Whether a plane has said that there was no room for its record."""
    return re.search(r"planes/\w+\.json: No space left on device; trying again", router.errors) is not None


def test_g_edge_5_a_full_disk_costs_no_request(tmp_path: Path, small_disk: Path) -> None:
    with simulated_fleet(tmp_path, 3, "--time-scale=0", "--record=0") as workers:
        router = Router(tmp_path, "--data-planes=2", "--worker-urls", *workers)
        router.runtime = RuntimeDir(small_disk / "run")
        try:
            router.start().ready()
            eventually(lambda: set(states(router).values()) == {"ready"}, "the table on disk")
            with Load(router.url, 4) as load:
                more(load, 50)
                filler = fill(small_disk)

                # A worker's death is a new table; that it can not be kept hinders nobody.
                httpx.post(f"{workers[0]}/sim/faults", json={"name": "die", "worker": True, "path": "/"})
                eventually(lambda: samples(router)["routerctl_worker_up"] == 2, "the worker to be out")
                eventually(lambda: "can not keep the table" in router.errors, "the log to say so")
                more(load, 200)
                assert states(router)[workers[0]] == "ready"

                # Nor does it keep a control plane from starting.
                control_plane = router.control_plane_pid()
                assert control_plane is not None
                os.kill(control_plane, signal.SIGKILL)
                eventually(lambda: "starting another" in router.errors, "its death to be seen")
                eventually(lambda: workers_up(router) == 2, "the next one to know the fleet")
                more(load, 200)

                filler.unlink()
                eventually(lambda: states(router).get(workers[0]) != "ready", "the newest table on disk")
                more(load, 50)
            assert load.failed == []
            eventually(lambda: samples(router)["routerctl_active_requests"] == 0, "the figures")
            assert adds_up(samples(router))
            assert router.errors.count("can not keep the table") <= 2, "once by each control plane"
            assert router.errors.count("control-plane.json: No space left on device; trying again") == 1
            eventually(lambda: router.control_plane_pid() is not None, "the record of the one that found no room")

            filler = fill(small_disk)
            os.kill(min(router.plane_pids()), signal.SIGKILL)
            eventually(lambda: has_no_record(router), "a plane without a record")
            filler.unlink()
            eventually(lambda: len(router.plane_pids()) == 2, "its record")
        finally:
            # The supervisor knows its processes; a full disk knows no records of them.
            router.stop()
            router.close()


def parts(router: Router) -> list[str]:
    return [path.name for path in router.runtime.path.iterdir() if path.name.startswith(".")]


def test_g_edge_5_changes_that_can_not_be_kept_say_so(tmp_path: Path, small_disk: Path) -> None:
    """A reload is refused whole, a change of the members is made and called not kept, a start says what is wrong."""
    settings = tmp_path / "r.toml"
    settings.write_text("request_timeout_secs = 100\n")
    with simulated_fleet(tmp_path, 2, "--time-scale=0", "--record=0") as workers:
        router = Router(tmp_path, "--data-planes=2", f"--config={settings}", "--worker-urls", *workers)
        router.runtime = RuntimeDir(small_disk / "run")
        admin = httpx.Client(base_url=f"http://127.0.0.1:{router.admin_port}", trust_env=False, timeout=30)
        try:
            filler = fill(small_disk)
            assert router.start().process.wait(30) == 1
            assert "No space left on device" in router.errors
            assert router.survivors() == []
            filler.unlink()

            router.start().ready()
            with Load(router.url, 4) as load, admin:
                more(load, 50)
                kept = router.runtime.config.read_bytes()
                filler = fill(small_disk)
                settings.write_text("request_timeout_secs = 200\n")
                refused = admin.post("/reload")
                assert (refused.status_code, refused.json()["outcome"]) == (409, "refused")
                assert "No space left on device" in refused.json()["problems"][0]
                assert router.runtime.config.read_bytes() == kept
                drained = admin.post(f"/workers/{workers[0].replace(':', '%3A').replace('/', '%2F')}/drain").json()
                assert (drained["kept"], drained["on_every_plane"]) == (False, True)
                more(load, 50)
                eventually(lambda: parts(router) == [], "parts of files that could not be written to be removed")

                filler.unlink()
                assert admin.post("/reload").json()["outcome"] == "applied"
                undrained = admin.post(f"/workers/{workers[0].replace(':', '%3A').replace('/', '%2F')}/undrain").json()
                assert (undrained["kept"], undrained["on_every_plane"]) == (True, True)
                more(load, 50)
            assert load.failed == []
        finally:
            router.stop()
            router.close()
