"""Limits of workers over two planes, as the workers see them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx
import pytest

from tests.faults.counting_worker import CountingWorker, ask, counting_worker
from tests.integration.routers import Router, eventually, samples

LIMIT = 3
CLIENTS = 24


@pytest.fixture(scope="module")
def workers() -> Iterator[list[CountingWorker]]:
    with counting_worker(0.02) as one, counting_worker(0.02) as other:
        yield [one, other]


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory, workers: list[CountingWorker]) -> Iterator[Router]:
    limits = (f"--worker-max-concurrent-requests={LIMIT}", f"--queue-size={2 * CLIENTS}")
    urls = [worker.url for worker in workers]
    router = Router(tmp_path_factory.mktemp("router"), "--data-planes=2", "--worker-urls", *urls, *limits)
    try:
        router.start().ready()
        yield router
    finally:
        router.close()


def statuses(router: Router, count: int) -> list[int]:
    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(lambda _: ask(router.port), range(count)))


def most(workers: list[CountingWorker]) -> list[int]:
    return [worker.peak for worker in workers]


def of_limit(router: Router, family: str, worker: CountingWorker) -> float:
    """Return what a family says of a worker's limit."""
    text = httpx.get(f"http://127.0.0.1:{router.prometheus_port}/metrics", trust_env=False).text
    start = f'{family}{{limit="worker:{worker.url}"}}'
    return float(next(line for line in text.splitlines() if line.startswith(start)).rsplit(" ", 1)[1])


def test_g_limit_1_no_worker_ever_has_more_than_its_limit_and_all_are_served(
    router: Router, workers: list[CountingWorker]
) -> None:
    for worker in workers:
        worker.forget()
    assert statuses(router, 3 * CLIENTS) == [200] * 3 * CLIENTS
    assert max(most(workers)) <= LIMIT
    # What is lent follows what is needed: in time all of it is used.
    eventually(lambda: bool(statuses(router, CLIENTS)) and most(workers) == [LIMIT, LIMIT], "all of the limits is used")
    assert sum(len(worker.begun) for worker in workers) % CLIENTS == 0
    eventually(
        lambda: all(of_limit(router, "routerctl_limit_in_use", worker) == 0 for worker in workers), "all is given back"
    )


def test_g_limit_1_a_workers_limit_changes_while_requests_wait(router: Router, workers: list[CountingWorker]) -> None:
    one = workers[0]
    path = f"http://127.0.0.1:{router.admin_port}/workers/{quote(one.url, safe='')}"
    told = httpx.patch(path, json={"max_concurrent_requests": 1}, trust_env=False).json()
    assert told["max_concurrent_requests"] == 1
    assert told["on_every_plane"]
    eventually(lambda: samples(router)["routerctl_queued_requests"] == 0, "nobody waits")
    eventually(lambda: of_limit(router, "routerctl_limit_lent", one) <= 1, "the larger leases are given back")
    for worker in workers:
        worker.forget()
    assert statuses(router, 2 * CLIENTS) == [200] * 2 * CLIENTS
    assert one.peak <= 1
    assert workers[1].peak <= LIMIT
