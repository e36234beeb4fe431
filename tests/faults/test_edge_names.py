"""G-EDGE-5: a worker's name that does not resolve, from the start or from some moment on."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.faults.edge import adds_up, cpu_seconds, threads
from tests.faults.load import Load
from tests.integration.routers import Router, eventually, router_before, samples, simulated_fleet

OPENED = "routerctl_worker_connections_opened_total"
CHECKS = ("--health-check-interval-secs=1", "--health-check-timeout-secs=1")
# Looked up in the files that the router sees in the place of the machine's own; nobody answers at the name server.
PRIVATE_NAMES = 'mount --bind "$0/hosts" /etc/hosts && mount --bind "$0/resolv.conf" /etc/resolv.conf && exec "$@"'
RESOLVER = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"


@contextmanager
def calm(pids: set[int]) -> Iterator[None]:
    """Check that processes neither spin nor gather threads meanwhile."""
    before = {pid: threads(pid) for pid in pids}
    began, used = time.monotonic(), sum(map(cpu_seconds, pids))
    yield
    share = (sum(map(cpu_seconds, pids)) - used) / (time.monotonic() - began)
    assert share < 0.5 * len(pids), "a busy loop"
    assert all(threads(pid) <= count + 6 for pid, count in before.items())


def worker_states(router: Router) -> dict[str, tuple[str, str]]:
    try:
        status = httpx.get(f"http://127.0.0.1:{router.admin_port}/status", trust_env=False).json()
    except httpx.ConnectError:
        # Planes serve before the admin port does.
        return {}
    return {worker["url"]: (worker["state"], worker["reason"]) for worker in status["workers"]}


def processes(router: Router) -> set[int]:
    control_plane = router.control_plane_pid()
    assert control_plane is not None
    return {*router.plane_pids(), control_plane}


def test_g_edge_5_a_name_that_never_resolves_is_told_and_harms_nobody(tmp_path: Path) -> None:
    nowhere = "http://no-such-host.invalid:8000"
    with (
        simulated_fleet(tmp_path, 1, "--time-scale=0", "--record=0") as workers,
        router_before(tmp_path, [*workers, nowhere], *CHECKS) as router,
    ):
        eventually(
            lambda: "does not resolve" in worker_states(router).get(nowhere, ("", ""))[1], "the reason in the status"
        )
        with calm(processes(router)):
            for _ in range(20):
                answer = httpx.post(f"{router.url}/sim/echo", trust_env=False)
                assert answer.status_code == 200
                time.sleep(0.05)
        assert adds_up(samples(router))


@pytest.fixture
def names(tmp_path: Path) -> Path:
    """The hosts file of a router that is started with `private_names`."""
    try:
        allowed = subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed or shutil.which("mount") is None:
        pytest.skip("a router can not be given a hosts file of its own here (unshare --mount)")
    (tmp_path / "resolv.conf").write_text(RESOLVER)
    (tmp_path / "hosts").write_text("127.0.0.1 localhost worker-a.test\n")
    return tmp_path / "hosts"


def private_names(folder: Path) -> tuple[str, ...]:
    return ("unshare", "--mount", "sh", "-c", PRIVATE_NAMES, str(folder))


@pytest.mark.slow
def test_g_edge_5_the_last_known_address_stays_in_use(tmp_path: Path, names: Path) -> None:
    """A worker is not gone because no name server answers. Health checks go by the name: here there are none."""
    with simulated_fleet(tmp_path, 1, "--time-scale=0", "--record=0") as (worker,):
        named = f"http://worker-a.test:{urlsplit(worker).port}"
        wrapper = private_names(tmp_path)
        with router_before(tmp_path, [named], "--health-check-interval-secs=600", wrapper=wrapper) as router:
            assert httpx.post(f"{router.url}/sim/echo", trust_env=False).status_code == 200
            eventually(lambda: samples(router).get(OPENED, 0) == 1, "the first connection")
            names.write_text("127.0.0.1 localhost\n")
            with calm(processes(router)):
                # Idle connections are closed after 3 s: these requests need new ones, and from 5 s on a new lookup.
                for _ in range(3):
                    time.sleep(3.5)
                    assert httpx.post(f"{router.url}/sim/echo", trust_env=False).status_code == 200
            eventually(lambda: samples(router)[OPENED] >= 3, "new connections")
            assert worker_states(router)[named][0] == "ready"


def test_g_edge_5_a_name_that_stops_resolving_costs_no_request(tmp_path: Path, names: Path) -> None:
    with simulated_fleet(tmp_path, 2, "--time-scale=0", "--record=0") as (one, other):
        named = f"http://worker-a.test:{urlsplit(one).port}"
        with router_before(tmp_path, [named, other], *CHECKS, wrapper=private_names(tmp_path)) as router:
            eventually(lambda: samples(router)["routerctl_worker_up"] == 2, "both workers")
            with Load(router.url, 2) as load:
                names.write_text("127.0.0.1 localhost\n")
                eventually(lambda: "does not resolve" in worker_states(router)[named][1], "the reason in the status")
                eventually(lambda: samples(router)["routerctl_worker_up"] == 1, "it to be out")
                goal = load.total + 100
                eventually(lambda: load.total >= goal, "answers by the other one")
                names.write_text("127.0.0.1 localhost worker-a.test\n")
                eventually(lambda: worker_states(router)[named][0] == "ready", "it to be back")
            assert load.failed == []
