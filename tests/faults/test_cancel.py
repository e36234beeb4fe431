"""G-CANCEL-2, 3 and 4: when the client leaves, in whatever phase and however, the worker sees its connection close."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep

import pytest

from tests.faults.figures import in_milliseconds, percentile
from tests.faults.law import law_holds, nothing_leaks
from tests.faults.leaving import Cancels, Disconnects, Finishes, Http2Connection, Resets, Visit, body_of
from tests.faults.watched_worker import LENGTH, Plan, WatchedWorker, event, watched_worker
from tests.integration.routers import PATIENCE, Router, eventually

PROMISE = 0.05
"""Seconds for 99 of 100 leavings: the full run holds it. In the everyday one the connection has to close."""


@pytest.fixture(scope="module")
def worker() -> Iterator[WatchedWorker]:
    with watched_worker() as one:
        yield one


@pytest.fixture(scope="module", params=[1, 2], ids=["one plane", "two planes"])
def router(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, worker: WatchedWorker
) -> Iterator[Router]:
    folder = tmp_path_factory.mktemp("router")
    one = Router(folder, f"--data-planes={request.param}", "--worker-urls", worker.url)
    try:
        one.start().ready()
        yield one
    finally:
        one.close()


# --- phases: how far the request comes before its client leaves -------------------------------------------


Phase = Callable[[WatchedWorker, Visit], None]


def until_dispatched(plan: Plan) -> Phase:
    def reach(worker: WatchedWorker, visit: Visit) -> None:
        visit.ask(body_of(plan))
        worker.wait_for(visit.id)

    return reach


def until_received(plan: Plan, arrived: Callable[[bytes], bool], chunks: int = 0) -> Phase:
    def reach(worker: WatchedWorker, visit: Visit) -> None:
        visit.ask(body_of(plan, chunks))
        visit.wait_until(arrived)

    return reach


def until_chunks(count: int) -> Phase:
    return until_received("stream", lambda received: event(count - 1) in received, count)


def until_blocked(worker: WatchedWorker, visit: Visit) -> None:
    """The client does not read, and the router has told the worker to wait."""
    visit.ask(body_of("flood"))
    assert worker.wait_for(visit.id).blocked.wait(PATIENCE)


PHASES: dict[str, Phase] = {
    "before the answer": until_dispatched("silent"),
    "before the first byte of a stream": until_dispatched("head"),
    "after 1 chunk": until_chunks(1),
    "after 10 chunks": until_chunks(10),
    "after 100 chunks": until_chunks(100),
    "before the first byte of a whole answer": until_dispatched("length"),
    "in the middle of a whole answer": until_received("half", lambda received: len(received) > LENGTH // 3),
    "while it takes nothing": until_blocked,
}


# --- ways to leave ----------------------------------------------------------------------------------------


class Neighbours:
    """Streams that go on meanwhile: one on HTTP/1.1, and one on an HTTP/2 connection that others may share."""

    def __init__(self, router: Router, worker: WatchedWorker) -> None:
        self._worker = worker
        self.connection = Http2Connection(router)
        self._streams: list[Visit] = [Finishes(router), Cancels(self.connection)]

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Every one of them gets its whole stream, in order."""
        self._worker.enough.clear()
        for stream in self._streams:
            stream.ask(body_of("steady"))
            stream.wait_until(lambda received: event(1) in received)
        try:
            yield
        finally:
            self._worker.enough.set()
        for stream in self._streams:
            stream.wait_until(lambda received: b"[DONE]" in received)
            received = stream.received()
            last = received.count(b"data: <") - 1
            assert last > 0
            assert all(event(number) in received for number in range(last + 1))
            assert event(last + 1) not in received
        eventually(lambda: self._connection_ended(), "the HTTP/2 stream to end well")
        self.connection.close()
        self._streams[0].clean_up()

    def _connection_ended(self) -> bool:
        self.connection.read()
        return len(self.connection.ended) == 1


Way = Callable[[Router, Neighbours], Visit]

WAYS: dict[str, Way] = {
    "HTTP/1.1 FIN": lambda router, neighbours: Finishes(router),
    "HTTP/1.1 RST": lambda router, neighbours: Resets(router),
    "HTTP/2 RST_STREAM": lambda router, neighbours: Cancels(neighbours.connection),
    "HTTP/2 close": lambda router, neighbours: Disconnects(router),
}


@pytest.mark.parametrize(
    ("count", "bound"),
    [(3, PATIENCE), pytest.param(150, PROMISE, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])],
    ids=["some", "full count"],
)
@pytest.mark.parametrize("way", WAYS)
def test_g_cancel_2_3_4_the_worker_sees_its_connection_close(
    router: Router, worker: WatchedWorker, way: str, count: int, bound: float
) -> None:
    rng = random.Random(way)
    delays: dict[str, list[float]] = {phase: [] for phase in PHASES}
    with nothing_leaks(router), law_holds(router):
        neighbours = Neighbours(router, worker)
        with neighbours.undisturbed():
            for phase, reach in PHASES.items():
                for _ in range(count):
                    visit = WAYS[way](router, neighbours)
                    reach(worker, visit)
                    # Both before and after the moment from which the router watches its client.
                    sleep(rng.uniform(0, 0.03))
                    left = monotonic()
                    visit.leave()
                    (dispatch,) = worker.dispatches(visit.id)
                    assert dispatch.closed.wait(PATIENCE), f"{phase}: the worker was never told"
                    delays[phase].append(dispatch.closed_at - left)
                    visit.clean_up()
    for phase, measured in delays.items():
        print(f"{way}, {phase}: {in_milliseconds(measured)}")
    late = {phase: in_milliseconds(measured) for phase, measured in delays.items() if percentile(measured, 99) > bound}
    assert not late
