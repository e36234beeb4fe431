"""Clients that leave, in every phase: the worker's connection is closed at once, and nothing is blamed on it."""

from __future__ import annotations

import asyncio

import pytest

from dataplane import forward
from dataplane.client import Client
from dataplane.dial import Dial
from dataplane.upstream.connection import UpstreamConnection
from tests.unit.dataplane.fake_granian import FakeTransaction
from tests.unit.dataplane.forward_bench import (
    Bench,
    Run,
    begin_and_hang,
    close_at_once,
    flood,
    hang,
    well,
    workers,
)
from tests.unit.dataplane.listening import blackhole_port, until
from tests.unit.dataplane.scripted_worker import Asked


def test_the_client_leaves_while_its_body_is_received(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask(None, headers=[(b"content-length", b"100")])
            transaction.give(b"part", more=True)
            await until(lambda: transaction.receives == 2)
            transaction.leave()
            await bench.ended(transaction)
            assert not transaction.sent
            assert bench.accounting.aborted == {"client": 1}
            assert not worker.asked
            assert worker.connections == 0

    run(test)


def test_the_client_has_left_before_it_is_looked_at(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.serve("http://127.0.0.1:1")
        transaction = FakeTransaction()
        transaction.leave()
        bench.transactions.append(transaction)
        bench.forwarder.forward(Client(transaction))
        assert transaction.done_calls == 1
        assert bench.accounting.aborted == {"client": 1}

    run(test)


def test_the_client_leaves_while_a_connection_is_made(run: Run) -> None:
    async def test(bench: Bench) -> None:
        with blackhole_port() as port:
            bench.serve(f"http://127.0.0.1:{port}")
            transaction = bench.ask()
            await until(lambda: transaction.receives == 2 and transaction.listening)
            assert bench.inflight() == 1
            attempts = bench.attempts()
            assert attempts is not None
            assert isinstance(attempts._pending, Dial)
            connecting = attempts._pending._task
            transaction.leave()
            await bench.ended(transaction)
            assert bench.inflight() == 0
            await until(connecting.done)
            assert connecting.cancelled()
            assert not transaction.sent
            assert bench.accounting.aborted == {"client": 1}
            assert not bench.evidence

    run(test)


def test_the_client_leaves_in_the_moment_in_which_the_connection_is_made(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.serve(worker.url)
            pool = bench.fleet.view.ready[0].pool
            connect = pool.connect

            async def connect_and_be_left(timeout: float) -> UpstreamConnection:
                connection = await connect(timeout)
                # Comes before the task's callback: the request has ended when it hears of its connection.
                (request,) = bench.forwarder._requests
                asyncio.get_running_loop().call_soon(request.interrupt, "client")
                return connection

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(pool, "connect", connect_and_be_left)
                transaction = bench.ask()
                await until(lambda: transaction.done_calls == 1)
            await until(lambda: worker.connections == 1 and worker.open == 0)
            assert not worker.asked
            assert bench.accounting.aborted == {"client": 1}
            assert bench.idle() == 0

    run(test)


def test_the_client_leaves_while_the_worker_thinks(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            await until(lambda: bool(worker.asked) and transaction.listening)
            assert bench.inflight() == 1
            transaction.leave()
            await bench.ended(transaction)
            await until(lambda: worker.open == 0)
            assert not transaction.sent
            assert bench.accounting.aborted == {"client": 1}
            assert not bench.evidence
            assert bench.idle() == 0

    run(test)


def test_a_client_that_left_is_noticed_within_the_promised_50_ms(run: Run) -> None:
    assert forward.WATCH_DELAY <= 0.03

    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            # Before the client is watched: its leaving must be found when it is.
            transaction.leave()
            await bench.ended(transaction)
            assert bench.accounting.aborted == {"client": 1}
            await until(lambda: worker.open == 0)

    run(test)


def test_the_client_leaves_in_mid_stream(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(begin_and_hang) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            await until(lambda: len(transaction.sent) == 2 and transaction.listening)
            transaction.leave()
            await bench.ended(transaction)
            await until(lambda: worker.open == 0)
            assert not transaction.whole
            # Nobody is there to be told of an error.
            assert transaction.body == b"data: first\n\n"
            assert bench.accounting.aborted == {"client": 1}
            assert not bench.accounting.errors
            assert not bench.evidence

    run(test)


def test_the_client_leaves_in_the_middle_of_a_small_answer(run: Run) -> None:
    async def script(asked: Asked) -> None:
        await asked.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        await asked.hang()

    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            await until(lambda: bool(worker.asked) and transaction.listening)
            transaction.leave()
            await bench.ended(transaction)
            await until(lambda: worker.open == 0)
            assert not transaction.sent

    run(test)


def test_the_client_leaves_while_it_is_waited_for(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(flood) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            transaction.stalled = True
            await until(lambda: transaction.waiting_for_room and transaction.listening)
            transaction.leave()
            await bench.ended(transaction)
            await until(lambda: worker.open == 0)
            assert bench.accounting.aborted == {"client": 1}

    run(test)


def test_the_client_leaves_while_another_worker_is_tried(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(close_at_once, hang) as (bad, good):
            bench.serve(bad.url, good.url)
            transaction = bench.ask()
            await until(lambda: bool(good.asked) and transaction.listening)
            transaction.leave()
            await bench.ended(transaction)
            await until(lambda: good.open == 0)
            assert bench.accounting.aborted == {"client": 1}

    run(test)


async def leave_after_parts(bench: Bench, number: int) -> None:
    """Ask, and leave when so many parts of the answer have come."""
    transaction = bench.ask()
    await until(lambda: len(transaction.parts) == number and transaction.listening)
    transaction.leave()
    await bench.ended(transaction)


def test_a_client_that_leaves_after_the_last_event_has_its_whole_answer(run: Run) -> None:
    """The official client stops reading at [DONE]; the last chunk, which is empty, may still be on its way."""
    gate = asyncio.Event()

    async def script(asked: Asked) -> None:
        await asked.begin()
        await asked.chunk(b"data: x\n\n")
        await asked.chunk(b"data: [DONE]\n\n")
        await gate.wait()
        await asked.end()

    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            await leave_after_parts(bench, 2)
            assert bench.accounting.finished == 1
            assert not bench.accounting.aborted
            gate.set()
            # The worker's connection was not thrown away.
            await until(lambda: bench.idle() == 1)
            assert worker.connections == 1

    run(test)


def test_a_worker_that_never_ends_after_the_last_event_is_not_waited_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataplane.upstream.connection._LAST_WORDS", 0.02)

    async def script(asked: Asked) -> None:
        await asked.begin()
        await asked.chunk(b"data: [DONE]\n\n")
        await asked.hang()

    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            await leave_after_parts(bench, 1)
            await until(lambda: worker.open == 0)

    run(test)
