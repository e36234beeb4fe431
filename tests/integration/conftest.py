"""A simulated fleet (by pytest-xprocess) and a router of two planes before it, shared by the tests of a module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from xprocess import ProcessStarter

from tests.integration.routers import Router, worker_urls

FLEET_SIZE = 3


@pytest.fixture(scope="module")
def fleet(xprocess: Any, request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """The URLs of simulated workers that answer at once."""

    class Fleet(ProcessStarter):  # type: ignore[misc]
        pattern = f"sim worker {FLEET_SIZE - 1} ready"
        terminate_on_interrupt = True
        args = (
            sys.executable,
            "-m",
            "controlplane.sim",
            "--port=0",
            f"--count={FLEET_SIZE}",
            "--time-scale=0",
            "--record=400",
        )

    name = f"fleet-{request.module.__name__.rpartition('.')[2]}"
    # A run that was broken off has left a pid behind, which may be another program's by now: `ensure` would end that.
    Path(xprocess.getinfo(name).pidpath).unlink(missing_ok=True)
    _, log = xprocess.ensure(name, Fleet, restart=True, persist_logs=False)
    yield worker_urls(log.read())
    xprocess.getinfo(name).terminate()


@pytest.fixture(scope="module")
def router(fleet: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """A ready router of two planes before the fleet."""
    one = Router(tmp_path_factory.mktemp("router"), "--data-planes=2", "--worker-urls", *fleet)
    try:
        one.start().ready()
        yield one
    finally:
        one.close()


@pytest.fixture
def client(router: Router) -> Iterator[httpx.Client]:
    """A plain HTTP client of the router, on connections of its own."""
    with httpx.Client(base_url=router.url, timeout=30) as one:
        yield one
