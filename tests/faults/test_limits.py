"""Limits over two planes, as a worker sees them: while all is well, and while processes are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.counting_worker import CountingWorker, ask, counting_worker
from tests.integration.routers import Router, eventually, samples

LIMIT = 6
CLIENTS = 24


@pytest.fixture(scope="module")
def worker() -> Iterator[CountingWorker]:
    with counting_worker(0.02) as worker:
        yield worker


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory, worker: CountingWorker) -> Iterator[Router]:
    limits = (f"--max-concurrent-requests={LIMIT}", f"--queue-size={2 * CLIENTS}")
    router = Router(tmp_path_factory.mktemp("router"), "--data-planes=2", "--worker-urls", worker.url, *limits)
    try:
        router.start().ready()
        yield router
    finally:
        router.close()


def statuses(router: Router, count: int) -> list[int]:
    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(lambda _: ask(router.port), range(count)))


def test_g_limit_1_all_planes_together_never_send_more_than_the_limit_and_nothing_is_lost(
    router: Router, worker: CountingWorker
) -> None:
    worker.forget()
    assert statuses(router, 3 * CLIENTS) == [200] * 3 * CLIENTS
    assert worker.peak <= LIMIT
    # What is lent follows what is needed: in time all of it is used.
    eventually(lambda: bool(statuses(router, CLIENTS)) and worker.peak == LIMIT, "all of the limit is used")
    eventually(lambda: samples(router)["routerctl_limit_in_use"] == 0, "all is given back")
    eventually(lambda: samples(router)["routerctl_queued_requests"] == 0, "nobody waits")


def test_g_limit_1_nor_while_the_control_plane_is_killed(router: Router, worker: CountingWorker) -> None:
    worker.forget()
    pid = router.control_plane_pid()
    assert pid is not None
    with ThreadPoolExecutor(1) as other:
        asked = other.submit(statuses, router, 4 * CLIENTS)
        eventually(lambda: len(worker.begun) > CLIENTS, "some requests")
        os.kill(pid, signal.SIGKILL)
        assert asked.result() == [200] * 4 * CLIENTS
    assert worker.peak <= LIMIT
    eventually(lambda: router.control_plane_pid() not in (None, pid), "another control plane")
    assert statuses(router, CLIENTS) == [200] * CLIENTS
    assert worker.peak <= LIMIT


def test_g_limit_1_what_a_killed_plane_held_comes_back(router: Router, worker: CountingWorker) -> None:
    worker.forget()
    victim = min(router.plane_pids())
    with ThreadPoolExecutor(1) as other:
        asked = other.submit(statuses, router, 4 * CLIENTS)
        eventually(lambda: len(worker.begun) > CLIENTS, "some requests")
        os.kill(victim, signal.SIGKILL)
        # Its own are lost, and those that came to its port in that moment.
        assert set(asked.result()) <= {0, 200}
    eventually(lambda: len(router.plane_pids() - {victim}) == 2, "another plane")
    worker.forget()
    eventually(lambda: bool(statuses(router, CLIENTS)) and worker.peak == LIMIT, "all of the limit is used again")
