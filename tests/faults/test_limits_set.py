"""Limits that a reload sets while requests are open, over two planes, as a worker sees it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.faults.counting_worker import CountingWorker, ask, counting_worker
from tests.integration.commands import routerctl
from tests.integration.routers import Router, eventually, samples

LIMIT = 4
OPEN = 8
MORE = 6


@pytest.fixture(scope="module")
def worker() -> Iterator[CountingWorker]:
    with counting_worker(0.0) as worker:
        yield worker


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory, worker: CountingWorker) -> Iterator[Router]:
    folder = tmp_path_factory.mktemp("router")
    (folder / "r.toml").write_text(f'worker_urls = ["{worker.url}"]\n')
    router = Router(folder, "--data-planes=2", "--config", str(folder / "r.toml"), policy=None)
    try:
        router.start().ready()
        yield router
    finally:
        router.close()


def reload(router: Router, worker: CountingWorker, limit: str) -> None:
    (router.folder / "r.toml").write_text(f'worker_urls = ["{worker.url}"]\n{limit}\n')
    result = routerctl("reload", "--runtime-dir", str(router.runtime.path), cwd=router.folder)
    assert (result.returncode, result.stderr) == (0, "")


@contextmanager
def answering(worker: CountingWorker) -> Iterator[None]:
    """Let nobody wait for the worker in the end."""
    try:
        yield
    finally:
        worker.answers.set()


def in_use(router: Router) -> float:
    return samples(router).get("routerctl_limit_in_use", 0.0)


@pytest.mark.parametrize(
    "limit", [f"max_concurrent_requests = {LIMIT}", f'model_max_concurrent_requests = ["sim-model={LIMIT}"]']
)
def test_g_limit_1_a_limit_that_is_set_by_a_reload_counts_the_requests_that_are_open(
    router: Router, worker: CountingWorker, limit: str
) -> None:
    worker.answers.clear()
    worker.forget()
    with ThreadPoolExecutor(OPEN + MORE) as clients, answering(worker):
        first = [clients.submit(ask, router.port) for _ in range(OPEN)]
        eventually(lambda: worker.now == OPEN, "requests at the worker")
        reload(router, worker, limit)
        eventually(lambda: in_use(router) == OPEN, "they count")
        others = [clients.submit(ask, router.port) for _ in range(MORE)]
        eventually(lambda: samples(router)["routerctl_queued_requests"] == MORE, "the others wait")
        assert worker.peak == OPEN
        worker.answers.set()
        assert [one.result() for one in (*first, *others)] == [200] * (OPEN + MORE)
    assert worker.peak == OPEN
    worker.forget()
    with ThreadPoolExecutor(OPEN) as clients:
        assert list(clients.map(lambda _: ask(router.port), range(3 * OPEN))) == [200] * 3 * OPEN
    assert worker.peak <= LIMIT
    reload(router, worker, "")
