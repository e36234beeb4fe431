"""G-CANCEL-1 and the connecting part of G-CANCEL-2: the client leaves before a worker has its request.

Here within its body and in the pause before another attempt; the queue is in `test_cancel_queued`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from time import monotonic, sleep

import pytest
from h2.errors import ErrorCodes

from tests.faults.figures import in_milliseconds, percentile
from tests.faults.law import law_holds, nothing_leaks, open_files, scrape
from tests.faults.leaving import Cancels, Disconnects, Finishes, Http2Connection, Resets, Visit, body_of
from tests.faults.test_retries import black_hole
from tests.faults.watched_worker import WatchedWorker, watched_worker
from tests.integration.routers import PATIENCE, Router, eventually, router_before

AT_ONCE = 10
"""Clients that wait together; the retry budget begins with as many."""
BODY = body_of("silent")


@pytest.fixture(scope="module")
def worker() -> Iterator[WatchedWorker]:
    with watched_worker() as one:
        yield one


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory, worker: WatchedWorker) -> Iterator[Router]:
    with router_before(tmp_path_factory.mktemp("router"), [worker.url]) as one:
        yield one


@pytest.fixture
def shared(router: Router) -> Iterator[Http2Connection]:
    """A connection whose streams come and go."""
    connection = Http2Connection(router)
    yield connection
    connection.close()


Visits = Callable[[Router, Http2Connection], Visit]
WAYS: dict[str, Visits] = {
    "HTTP/1.1 FIN": lambda router, shared: Finishes(router),
    "HTTP/1.1 RST": lambda router, shared: Resets(router),
    "HTTP/2 RST_STREAM": lambda router, shared: Cancels(shared),
    "HTTP/2 close": lambda router, shared: Disconnects(router),
}


def aborted(router: Router) -> float:
    return scrape(router).count("aborted")


def answered_after(router: Router) -> None:
    """Ask and be answered: what came before it has been dealt with."""
    visit = Finishes(router)
    visit.ask(body_of("stream", 1))
    visit.wait_until(lambda received: b"data: <0>" in received)
    visit.leave()
    visit.clean_up()


@pytest.mark.parametrize(
    "count", [20, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])], ids=["some", "full count"]
)
@pytest.mark.parametrize("way", WAYS)
def test_g_cancel_1_a_body_that_is_not_complete_is_never_dispatched(
    router: Router, worker: WatchedWorker, shared: Http2Connection, way: str, count: int
) -> None:
    rng = random.Random(way)
    ids = []
    with nothing_leaks(router), law_holds(router):
        before = aborted(router)
        for _ in range(count // AT_ONCE):
            visits = [WAYS[way](router, shared) for _ in range(AT_ONCE)]
            for number, visit in enumerate(visits):
                visit.ask(BODY, missing=rng.randrange(1, len(BODY)), declared=bool(number % 2))
            # Some of them are read by the router by then, some are not.
            sleep(rng.uniform(0, 0.01))
            for visit in visits:
                visit.leave()
                visit.clean_up()
                ids.append(visit.id)
        answered_after(router)
        eventually(lambda: aborted(router) > before + count / 2, "most of them to be counted")
    assert [id for id in ids if worker.dispatches(id)] == []


def test_g_cancel_1_a_stream_that_is_reset_without_an_error_in_its_body_is_not_complete(
    router: Router, worker: WatchedWorker, shared: Http2Connection
) -> None:
    """Proxies cancel with NO_ERROR; the server takes that for the end of the body."""
    with nothing_leaks(router), law_holds(router):
        visits = [Cancels(shared) for _ in range(20)]
        for visit in visits:
            visit.ask(BODY, missing=1)
            sleep(0.005)
            shared.reset(visit.stream, ErrorCodes.NO_ERROR)
            shared.flush()
        answered_after(router)
    assert [visit.id for visit in visits if worker.dispatches(visit.id)] == []


def test_a_stream_that_is_reset_without_an_error_in_a_body_of_unknown_length_is_ended_at_the_worker(
    router: Router, worker: WatchedWorker, shared: Http2Connection
) -> None:
    """It looks complete, so it is sent on; its leaving follows at once."""
    with nothing_leaks(router), law_holds(router):
        for _ in range(5):
            visit = Cancels(shared)
            visit.ask(BODY, missing=1, declared=False)
            sleep(0.005)
            shared.reset(visit.stream, ErrorCodes.NO_ERROR)
            shared.flush()
            assert worker.wait_for(visit.id).closed.wait(PATIENCE)


@pytest.mark.parametrize(
    "rounds", [1, pytest.param(112, marks=[pytest.mark.slow, pytest.mark.timeout(600)])], ids=["some", "full count"]
)
def test_g_cancel_1_in_the_pause_before_another_attempt(tmp_path: Path, worker: WatchedWorker, rounds: int) -> None:
    """One client more stays: its next attempt shows that the others' would have come."""
    with router_before(tmp_path, [worker.url]) as router, nothing_leaks(router), law_holds(router):
        shared = Http2Connection(router)
        for _ in range(rounds):
            visits = [way(router, shared) for way in islice(cycle(WAYS.values()), AT_ONCE - 1)]
            staying = Finishes(router)
            for visit in (*visits, staying):
                visit.ask(body_of("busy-once"))
                worker.wait_for(visit.id)
            for visit in visits:
                visit.leave()
                visit.clean_up()
            worker.wait_for(staying.id, attempt=2)
            staying.wait_until(lambda received: received.endswith(b"well"))
            staying.clean_up()
            assert [visit.id for visit in visits if len(worker.dispatches(visit.id)) != 1] == []
        shared.close()


# --- connecting -------------------------------------------------------------------------------------------

_SYN_SENT = "02"


def connecting(router: Router, port: int) -> str | None:
    """The plane's file that tries to connect to a port, as a path in /proc, if there is one."""
    with open("/proc/net/tcp") as table:
        rows = [row.split() for row in table]
    trying = {f"socket:[{row[9]}]" for row in rows if row[2].endswith(f":{port:04X}") and row[3] == _SYN_SENT}
    return next((path for path, file in open_files(router) if file in trying), None)


def wait_for_connecting(router: Router, port: int) -> str:
    found: list[str] = []

    def look() -> bool:
        path = connecting(router, port)
        found.extend([path] if path is not None else [])
        return bool(found)

    eventually(look, "the router to connect")
    return found[0]


@pytest.mark.parametrize(
    ("count", "bound"),
    [(5, PATIENCE), pytest.param(250, 0.05, marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
    ids=["some", "full count"],
)
def test_g_cancel_2_while_connecting(tmp_path: Path, count: int, bound: float) -> None:
    rng = random.Random(2)
    delays: dict[str, list[float]] = {way: [] for way in WAYS}
    with black_hole() as (hole, swallow), router_before(tmp_path, [hole]) as router:
        port = int(hole.rpartition(":")[2])
        swallow()
        shared = Http2Connection(router)
        with nothing_leaks(router), law_holds(router):
            for way, visits in WAYS.items():
                for _ in range(count):
                    visit = visits(router, shared)
                    visit.ask(BODY)
                    path = wait_for_connecting(router, port)
                    sleep(rng.uniform(0, 0.03))
                    left = monotonic()
                    visit.leave()
                    while os.path.lexists(path):
                        assert monotonic() < left + PATIENCE
                        sleep(0.0005)
                    delays[way].append(monotonic() - left)
                    visit.clean_up()
        shared.close()
    for way, measured in delays.items():
        print(f"{way}, while connecting: {in_milliseconds(measured)}")
    assert all(percentile(measured, 99) <= bound for measured in delays.values())
