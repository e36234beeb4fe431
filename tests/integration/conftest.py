"""A simulated fleet and a router of two planes before it, shared by the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.integration.routers import Router, simulated_fleet

FLEET_SIZE = 3


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The URLs of simulated workers that answer at once."""
    with simulated_fleet(tmp_path_factory.mktemp("fleet"), FLEET_SIZE, "--time-scale=0", "--record=400") as urls:
        yield urls


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
