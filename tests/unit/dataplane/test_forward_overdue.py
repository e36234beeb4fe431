"""Requests that stand still for longer than their phase allows."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from dataplane import forward
from tests.unit.dataplane.fake_granian import FakeTransaction
from tests.unit.dataplane.forward_bench import BODY, Bench, Run, begin_and_hang, error_of, hang, workers
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.scripted_worker import Asked

SOON = 0.02


async def stop_in_a_small_answer(asked: Asked) -> None:
    await asked.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    await asked.hang()


async def more_than_anyone_reads(asked: Asked) -> None:
    await asked.begin()
    while True:
        await asked.chunk(b"x" * 60_000)


async def overdue(bench: Bench, transaction: FakeTransaction) -> None:
    """Look at the request as the plane's housekeeping does, until it is ended."""

    def looked() -> bool:
        bench.forwarder.expire()
        return transaction.done_calls > 0

    await until(looked)


def test_a_pause_of_the_plane_itself_is_no_workers_fault(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "STOOD", 0.5)

    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.configure(response_header_timeout=SOON)
            bench.serve(worker.url)
            transaction = bench.ask()
            await until(lambda: len(worker.asked) == 1)
            bench.forwarder.expire()
            time.sleep(0.6)  # noqa: ASYNC251 - the whole process stands
            bench.forwarder.expire()
            assert transaction.done_calls == 0
            # Once is enough: what has come meanwhile is seen by now.
            bench.forwarder.expire()
            assert bench.evidence == [("a", 7, "stalled")]

    run(test)


@pytest.mark.parametrize(
    ("script", "limit", "code"),
    [
        (hang, {"response_header_timeout": SOON}, "worker_stalled"),
        (stop_in_a_small_answer, {"stream_idle_timeout": SOON}, "worker_stalled"),
    ],
)
def test_a_worker_that_stands_still_before_the_client_heard_is_504(
    run: Run, script: Any, limit: dict[str, float], code: str
) -> None:
    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.configure(**limit)
            bench.serve(worker.url)
            transaction = bench.ask()
            await overdue(bench, transaction)
            assert (transaction.status, error_of(transaction)["code"]) == (504, code)
            assert bench.evidence == [("a", 7, "stalled")]
            await until(lambda: worker.open == 0)

    run(test)


def test_a_stream_that_stands_still_is_ended_visibly(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(begin_and_hang) as (worker,):
            bench.configure(stream_idle_timeout=SOON)
            bench.serve(worker.url)
            transaction = bench.ask()
            await overdue(bench, transaction)
            assert not transaction.whole
            assert b"worker_stalled" in transaction.parts[-1]
            assert bench.accounting.aborted == {"worker": 1}
            assert bench.evidence == [("a", 7, "stalled")]
            await until(lambda: worker.open == 0)

    run(test)


def test_a_client_that_takes_nothing_is_cut_off(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(more_than_anyone_reads) as (worker,):
            bench.configure(client_write_timeout=SOON, stream_idle_timeout=1000)
            bench.serve(worker.url)
            transaction = bench.ask()
            transaction.stalled = True
            await overdue(bench, transaction)
            assert not transaction.whole
            assert bench.accounting.aborted == {"client": 1}
            assert bench.accounting.errors[("client", "write_timeout")] == 1
            assert not bench.evidence
            await until(lambda: worker.open == 0)

    run(test)


@pytest.mark.parametrize("limit", ["client_write_timeout", "request_timeout"])
@pytest.mark.parametrize(("version", "is_cut"), [("1.1", True), ("2", False)])
def test_the_connection_of_a_client_that_takes_nothing_is_reset(
    run: Run, limit: str, version: str, is_cut: bool
) -> None:
    """Over HTTP/2 other requests share it, and the server can end one alone."""

    async def test(bench: Bench) -> None:
        cut: list[tuple[str, int]] = []
        bench.forwarder.cut_off = cut.append
        async with workers(more_than_anyone_reads) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            transaction.scope |= {"client": ("10.0.0.7", "50123"), "http_version": version}
            transaction.stalled = True
            await until(lambda: transaction.waiting_for_room)
            bench.configure(**{limit: SOON})
            await overdue(bench, transaction)
            assert cut == [("10.0.0.7", 50123)] * is_cut
            await until(lambda: worker.open == 0)

    run(test)


def test_a_body_that_stops_is_408(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.configure(client_body_timeout=SOON)
        transaction = bench.ask(None)
        transaction.give(BODY[:5], more=True)
        await overdue(bench, transaction)
        assert (transaction.status, error_of(transaction)["code"]) == (408, "request_body_timeout")
        assert transaction.header(b"connection") == b"close"

    run(test)


def test_what_moves_is_left_alone(run: Run) -> None:
    async def slow(asked: Asked) -> None:
        await asked.begin()
        for number in range(12):
            await asyncio.sleep(0.1)
            await asked.chunk(b"data: %d\n\n" % number)
        await asked.end()

    async def test(bench: Bench) -> None:
        async with workers(slow) as (worker,):
            bench.configure(stream_idle_timeout=1.0, response_header_timeout=1.0, client_write_timeout=1.0)
            bench.serve(worker.url)
            transaction = bench.ask()

            def looked() -> bool:
                transaction.read()
                bench.forwarder.expire()
                return transaction.done_calls > 0

            await until(looked)
            assert transaction.whole
            assert len(transaction.parts) >= 12

    run(test)
