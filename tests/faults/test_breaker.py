"""G-BREAK-1 and 2 with real processes: two planes, simulated workers, and nothing told to the router."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.faults.load import Load
from tests.integration.routers import PATIENCE, Router, eventually, simulated_fleet

FAILING = {"name": "status", "status": 500, "probability": 0.5}


@contextmanager
def two_planes(folder: Path, workers: list[str], *arguments: str) -> Iterator[Router]:
    router = Router(folder, "--data-planes=2", *arguments, "--worker-urls", *workers)
    try:
        router.start().ready()
        eventually(lambda: value(router, "routerctl_worker_up") == len(workers), "all workers to be ready")
        yield router
    finally:
        router.close()


def fault(worker: str, fields: dict[str, object]) -> None:
    httpx.post(f"{worker}/sim/faults", json=fields, trust_env=False).raise_for_status()


def heal(worker: str) -> None:
    httpx.delete(f"{worker}/sim/faults", trust_env=False).raise_for_status()


def value(router: Router, name: str, **labels: str) -> float:
    """The sum of a metric's series that have these labels."""
    text = httpx.get(f"http://127.0.0.1:{router.prometheus_port}/metrics", trust_env=False).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def breaker(router: Router, worker: str) -> float:
    return value(router, "routerctl_worker_breaker", worker=worker)


def transitions(router: Router, worker: str, to: str) -> float:
    return value(router, "routerctl_worker_breaker_transitions_total", worker=worker, to=to)


def asked(worker: str) -> int:
    """How many requests of clients the worker has had since it was last told to forget them."""
    found = httpx.get(f"{worker}/sim/requests", trust_env=False).json()
    records = found["requests"] if isinstance(found, dict) else found
    return sum("/v1/chat/completions" in str(record) for record in records)


def forget(worker: str) -> None:
    httpx.delete(f"{worker}/sim/requests", trust_env=False).raise_for_status()


@pytest.mark.parametrize("within", [PATIENCE, pytest.param(3.0, marks=pytest.mark.slow)], ids=["some time", "promise"])
def test_g_break_1_a_worker_that_fails_half_is_out_on_every_plane_and_back_after_one_probe(
    tmp_path: Path, within: float
) -> None:
    with (
        simulated_fleet(tmp_path, 3, "--time-scale=0") as workers,
        two_planes(
            tmp_path, workers, "--cb-timeout-duration-secs=3", "--cb-success-threshold=1", "--disable-retries"
        ) as router,
        Load(router.url, 8) as load,
    ):
        bad = workers[0]
        eventually(lambda: load.total > 50, "the first answers")
        fault(bad, FAILING)
        eventually(lambda: breaker(router, bad) == 2, "the breaker to open", within)
        status = httpx.get(f"http://127.0.0.1:{router.admin_port}/status", trust_env=False).json()
        (told,) = (worker["breaker"] for worker in status["workers"] if worker["id"] == bad)
        assert told["state"] == "open"
        assert "500" in told["reason"]
        # What was on its way when it opened has ended by now: from here on nothing goes there but the probe.
        version = value(router, "routerctl_table_version")
        eventually(lambda: value(router, "routerctl_plane_table_version") >= 2 * version, "both planes to know")
        # The probe takes long enough for every plane to send one of its own, if it would.
        heal(bad)
        fault(bad, {"name": "slow", "seconds": 1.0})
        eventually(lambda: value(router, "routerctl_worker_inflight", worker=bad) == 0, "requests to end")
        forget(bad)
        eventually(lambda: transitions(router, bad, "half-open") == 1, "the breaker to be half-open")
        goal = load.total + 50
        eventually(lambda: asked(bad) > 0, "the probe")
        # On a busy machine it may have come to its end by now, and others follow it.
        assert asked(bad) == 1 or breaker(router, bad) == 0
        eventually(lambda: load.total > goal, "answers of the others meanwhile")
        assert asked(bad) == 1 or breaker(router, bad) == 0
        eventually(lambda: breaker(router, bad) == 0, "the breaker to close")
        heal(bad)
        eventually(lambda: asked(bad) > 20, "requests for the worker again")
        assert [transitions(router, bad, to) for to in ("open", "half-open", "closed")] == [1, 1, 1]


def test_g_break_1_without_a_control_plane_planes_break_and_recover_by_themselves(tmp_path: Path) -> None:
    with (
        simulated_fleet(tmp_path, 3, "--time-scale=0") as workers,
        two_planes(
            tmp_path, workers, "--cb-timeout-duration-secs=1", "--cb-success-threshold=1", "--disable-retries"
        ) as router,
    ):
        pid = router.control_plane_pid()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            with Load(router.url, 8) as load:
                eventually(lambda: load.total > 50, "the first answers")
                fault(workers[0], {"name": "status", "status": 500})
                eventually(lambda: len(load.failed) >= 10, "requests to fail")
                # Each plane tries it again once a second; everything else goes to the others.
                failed, goal = len(load.failed), load.total + 1000
                eventually(lambda: load.total > goal, "1000 answers more")
                assert len(load.failed) - failed < 200
                heal(workers[0])
                forget(workers[0])
                eventually(lambda: asked(workers[0]) > 20, "requests for the worker again")
        finally:
            os.kill(pid, signal.SIGCONT)


def test_g_break_2_when_all_fail_all_are_used(tmp_path: Path) -> None:
    with simulated_fleet(tmp_path, 2, "--time-scale=0") as workers, two_planes(tmp_path, workers) as router:
        for worker in workers:
            fault(worker, {"name": "status", "status": 500})
        with Load(router.url, 4) as load:
            for worker in workers:
                eventually(lambda worker=worker: breaker(router, worker) == 2, "the breaker to open")  # type: ignore[misc]
            for worker in workers:
                forget(worker)
                eventually(lambda worker=worker: asked(worker) > 10, "requests for it all the same")  # type: ignore[misc]
                heal(worker)
            goal = load.total + 50
            eventually(lambda: load.total > goal, "answers")
