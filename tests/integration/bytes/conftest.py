"""One router of one plane before one raw worker, shared by all tests here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.bytes.raw_client import RawClient
from tests.integration.bytes.raw_worker import OK, RawWorker, raw_worker, saying
from tests.integration.routers import Router


@pytest.fixture(scope="package")
def lasting_worker() -> Iterator[RawWorker]:
    with raw_worker() as worker:
        yield worker


@pytest.fixture(scope="package")
def router(tmp_path_factory: pytest.TempPathFactory, lasting_worker: RawWorker) -> Iterator[Router]:
    # Without retries each request is one that the worker saw, whatever its status.
    one = Router(
        tmp_path_factory.mktemp("router"),
        "--data-planes=1",
        "--disable-retries",
        "--worker-urls",
        lasting_worker.url,
    )
    try:
        one.start().ready()
        yield one
    finally:
        one.close()


@pytest.fixture
def worker(router: Router, lasting_worker: RawWorker) -> RawWorker:
    """The worker, with nothing left of other tests."""
    lasting_worker.take()
    lasting_worker.script = saying(OK)
    return lasting_worker


@pytest.fixture
def client(router: Router) -> Iterator[RawClient]:
    with RawClient(router.port) as one:
        yield one
