"""G-CANCEL-1 in the queue: a client that leaves while its request waits is never dispatched, and nothing is held."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import pytest

from tests.faults.law import law_holds, nothing_leaks, scrape
from tests.faults.leaving import Finishes, Http2Connection, body_of
from tests.faults.test_cancel_before_dispatch import WAYS, answered_after
from tests.faults.watched_worker import WatchedWorker, watched_worker
from tests.integration.routers import PATIENCE, Router, eventually, router_before

WAITING = 20


@pytest.fixture(scope="module")
def worker() -> Iterator[WatchedWorker]:
    with watched_worker() as one:
        yield one


def queued(router: Router) -> float:
    return scrape(router).sums.get("routerctl_queued_requests", 0.0)


@pytest.mark.parametrize(
    "rounds", [1, pytest.param(50, marks=[pytest.mark.slow, pytest.mark.timeout(900)])], ids=["some", "full count"]
)
def test_g_cancel_1_while_queued(tmp_path: Path, worker: WatchedWorker, rounds: int) -> None:
    limited = router_before(tmp_path, [worker.url], "--max-concurrent-requests=1")
    with limited as router, nothing_leaks(router), law_holds(router):
        shared = Http2Connection(router)
        for _ in range(rounds):
            first = Finishes(router)
            first.ask(body_of("silent"))
            dispatch = worker.wait_for(first.id)
            visits = [way(router, shared) for way in islice(cycle(WAYS.values()), WAITING)]
            for visit in visits:
                visit.ask(body_of("silent"))
            eventually(lambda: queued(router) == WAITING, "all of them wait")
            for visit in visits:
                visit.leave()
                visit.clean_up()
            eventually(lambda: queued(router) == 0, "nobody waits")
            first.leave()
            first.clean_up()
            assert dispatch.closed.wait(PATIENCE)
            # Its place is free, and it is nobody's who has left.
            answered_after(router)
            assert [visit.id for visit in visits if worker.dispatches(visit.id)] == []
        shared.close()
