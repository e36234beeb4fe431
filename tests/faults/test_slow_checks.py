"""A busy engine answers its health check late. That is not its death; a check that finds it dead is."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.faults.load import Load
from tests.faults.test_breaker import fault, two_planes, value
from tests.integration.routers import eventually, simulated_fleet

CHECKS = ("--health-check-timeout-secs=3", "--health-check-interval-secs=1", "--health-failure-threshold=1")


def checks(worker: str) -> int:
    """How many health checks the worker has had."""
    found = httpx.get(f"{worker}/sim/requests", trust_env=False).json()
    return sum("/health" in str(record) for record in found["requests"])


@pytest.mark.slow
def test_a_worker_that_serves_stays_and_one_that_only_is_slow_goes(tmp_path: Path) -> None:
    with (
        simulated_fleet(tmp_path, 2, "--time-scale=0", "--record=100000") as workers,
        two_planes(tmp_path, workers, *CHECKS) as router,
    ):
        slow = workers[0]
        with Load(router.url, 2) as load:
            eventually(lambda: load.total > 50, "the first answers")
            fault(slow, {"name": "slow", "seconds": 60, "path": "/health"})
            before = checks(slow)
            eventually(lambda: checks(slow) >= before + 3, "three late checks")
            assert value(router, "routerctl_worker_up", worker=slow) == 1
            assert f"worker {slow} answers requests, but not its check" in router.errors
        eventually(lambda: value(router, "routerctl_worker_up", worker=slow) == 0, "the end of an idle one")
        assert value(router, "routerctl_worker_up", worker=workers[1]) == 1


def test_a_worker_that_refuses_its_check_goes_although_it_serves(tmp_path: Path) -> None:
    with (
        simulated_fleet(tmp_path, 2, "--time-scale=0") as workers,
        two_planes(tmp_path, workers, *CHECKS) as router,
        Load(router.url, 2) as load,
    ):
        eventually(lambda: load.total > 50, "the first answers")
        fault(workers[0], {"name": "status", "status": 503, "path": "/health"})
        eventually(lambda: value(router, "routerctl_worker_up", worker=workers[0]) == 0, "its end")
