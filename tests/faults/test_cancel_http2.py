"""HTTP/2 clients that leave in numbers: a connection with many streams, and streams that are reset as they open."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic

import h2.connection
import pytest
from h2.errors import ErrorCodes

from tests.faults.figures import in_milliseconds, percentile
from tests.faults.law import law_holds, nothing_leaks, scrape
from tests.faults.leaving import Http2Connection, body_of, request_headers
from tests.faults.load import Load
from tests.faults.test_retries import fault
from tests.faults.watched_worker import WatchedWorker, watched_worker
from tests.integration.routers import PATIENCE, Router, eventually, simulated_fleet


@pytest.fixture
def worker() -> Iterator[WatchedWorker]:
    with watched_worker() as one:
        yield one


def started(folder: Path, *workers: str) -> Router:
    return Router(folder, "--data-planes=2", "--worker-urls", *workers).start()


@pytest.mark.parametrize(
    ("rounds", "bound"),
    [(2, PATIENCE), pytest.param(50, 0.05, marks=[pytest.mark.slow, pytest.mark.timeout(300)])],
    ids=["some", "full count"],
)
def test_g_cancel_3_a_closed_connection_ends_every_one_of_its_streams(
    tmp_path: Path, worker: WatchedWorker, rounds: int, bound: float
) -> None:
    plans = [body_of("silent"), body_of("head"), body_of("stream", 5), body_of("half"), body_of("length")] * 4
    delays = []
    router = started(tmp_path, worker.url)
    try:
        router.ready()
        with nothing_leaks(router), law_holds(router):
            for number in range(rounds):
                connection = Http2Connection(router)
                ids = [f"round-{number}-{each}" for each in range(len(plans))]
                for id, body in zip(ids, plans, strict=True):
                    connection.open(id, length=len(body), body=body, whole=True)
                connection.flush()
                dispatches = [worker.wait_for(id) for id in ids]
                left = monotonic()
                connection.close()
                for dispatch in dispatches:
                    assert dispatch.closed.wait(PATIENCE), f"{dispatch.id}: the worker was never told"
                    delays.append(dispatch.closed_at - left)
    finally:
        router.close()
    print(f"{len(plans)} streams of one connection: {in_milliseconds(delays)}")
    assert percentile(delays, 99) <= bound, in_milliseconds(delays)


NEVER_ANSWERED = "/v1/completions"


def opened_and_reset(streams: int, *, at_once: bool) -> list[bytes]:
    """What a client sends that opens streams and resets each: at once, or all of them when all are open."""
    client = h2.connection.H2Connection()
    client.initiate_connection()
    body = b'{"model":"sim-model","prompt":"hello"}'
    numbers = range(1, 2 * streams, 2)
    for stream in numbers:
        client.send_headers(stream, request_headers("reset", len(body), NEVER_ANSWERED))
        client.send_data(stream, body, end_stream=True)
        if at_once:
            client.reset_stream(stream, ErrorCodes.CANCEL)
    opened = client.data_to_send()
    if at_once:
        return [opened]
    for stream in numbers:
        client.reset_stream(stream, ErrorCodes.CANCEL)
    return [opened, client.data_to_send()]


def attack(router: Router, parts: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", router.port), PATIENCE) as attacker, suppress(OSError):
        for part in parts:
            attacker.sendall(part)
            if part is not parts[-1]:
                attacker.recv(65536)
        attacker.shutdown(socket.SHUT_WR)
        # Of too many the server has enough before their end: that is its defence.
        while attacker.recv(65536):
            pass


@pytest.mark.parametrize(
    "rounds", [5, pytest.param(300, marks=[pytest.mark.slow, pytest.mark.timeout(600)])], ids=["some", "full count"]
)
def test_g_cancel_3_rapid_resets_fail_no_other_request_and_leave_nothing(tmp_path: Path, rounds: int) -> None:
    floods = {
        "1000 reset before the server has looked at them": opened_and_reset(1000, at_once=True),
        "100 reset when they have become requests": opened_and_reset(100, at_once=False),
    }
    goodput: dict[str, float] = {}

    def measure(what: str, load: Load, act: Callable[[], None]) -> None:
        began, answered = monotonic(), load.total
        act()
        goodput[what] = (load.total - answered) / (monotonic() - began)

    def answers(load: Load, count: int) -> None:
        goal = load.total + count
        eventually(lambda: load.total >= goal or bool(load.failed), f"{count} more answers")

    def flooded(parts: list[bytes]) -> None:
        for _ in range(rounds):
            attack(router, parts)

    with simulated_fleet(tmp_path, 2, "--time-scale=0", "--record=0") as workers:
        router = started(tmp_path, *workers)
        try:
            router.ready()
            for worker in workers:
                fault(worker, name="stall", path=NEVER_ANSWERED)
            with nothing_leaks(router), law_holds(router):
                with Load(router.url, 4) as load:
                    answers(load, 100)
                    measure("undisturbed", load, lambda: answers(load, 500))
                    for what, parts in floods.items():
                        measure(what, load, partial(flooded, parts))
                        answers(load, 100)
                assert load.failed == []
            aborted = scrape(router).count("aborted")
            assert aborted > 0
        finally:
            router.close()
    print(f"{rounds} rounds, {aborted:.0f} of the streams got as far as a request; goodput of 4 clients:")
    for what, rate in goodput.items():
        print(f"  {what}: {rate:.0f}/s")
