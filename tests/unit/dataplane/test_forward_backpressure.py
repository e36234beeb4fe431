"""A client that does not keep up: the worker waits, nothing is lost, and the connection is not spoilt."""

from __future__ import annotations

import pytest

from tests.unit.dataplane.fake_granian import QUEUE
from tests.unit.dataplane.forward_bench import (
    CHUNK,
    FLOOD,
    Bench,
    Run,
    flood,
    well,
    workers,
)
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.scripted_worker import Asked


def test_a_stalled_client_stalls_the_worker_and_loses_nothing(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(flood) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            transaction.stalled = True
            for _ in range(20):
                await until(lambda: transaction.waiting_for_room)
                # Full, and nothing more is pushed into it.
                assert transaction._unread == QUEUE
                transaction.read_some()
            transaction.read()
            await bench.ended(transaction)
            assert transaction.whole
            assert transaction.body == b"".join(b"%06d" % number + CHUNK for number in range(FLOOD))
            assert len(transaction.parts) == FLOOD + 1
            worker.script = well
            assert (await bench.answer()).body == b"well"
            assert worker.connections == 1

    run(test)


@pytest.mark.parametrize("chunks", range(1, 12))
def test_the_answer_completes_while_the_client_is_waited_for(run: Run, chunks: int) -> None:
    """The connection is free for the next request, and reads again, before the client has taken the last."""

    async def script(asked: Asked) -> None:
        parts = b"".join(b"1\r\n%x\r\n" % number for number in range(chunks))
        await asked.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n")

    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            transaction.stalled = True
            await until(lambda: bench.idle() == 1)
            if chunks >= QUEUE - 1:
                assert transaction.waiting_for_room
                assert not transaction.whole
                assert bench.accounting.active == 1
            worker.script = well
            assert (await bench.answer()).body == b"well"
            assert worker.connections == 1
            transaction.read()
            await bench.ended(transaction)
            assert transaction.whole
            assert transaction.body == b"".join(b"%x" % number for number in range(chunks))

    run(test)


def test_a_client_that_stalls_again_after_the_worker_is_done_stalls_nobody_else(run: Run) -> None:
    """The connection belongs to others by then: it must not be paused for the sake of the client before."""

    async def script(asked: Asked) -> None:
        parts = b"".join(b"1\r\n%x\r\n" % number for number in range(15))
        await asked.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n")

    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            transaction.stalled = True
            await until(lambda: bench.idle() == 1)
            worker.script = well
            for _ in range(3):
                assert transaction.waiting_for_room
                transaction.read_some()
                await until(lambda: transaction.waiting_for_room)
                assert (await bench.answer()).body == b"well"
            transaction.read()
            await bench.ended(transaction)
            assert transaction.body == b"0123456789abcde"
            assert worker.connections == 1

    run(test)


def test_a_client_that_leaves_after_the_worker_is_done_costs_no_connection(run: Run) -> None:
    async def script(asked: Asked) -> None:
        await asked.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 8 + b"0\r\n\r\n")

    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            transaction.stalled = True
            await until(lambda: bench.idle() == 1 and transaction.listening)
            transaction.leave()
            await bench.ended(transaction)
            assert bench.idle() == 1
            assert bench.accounting.aborted == {"client": 1}
            worker.script = well
            assert (await bench.answer()).body == b"well"
            assert worker.connections == 1

    run(test)


EVENTS = [b"data: %d\n\n" % number for number in range(9)]


async def more_than_fits(asked: Asked) -> None:
    """More events in one piece than the client's queue takes."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    await asked.write(head + b"".join(b"9\r\n%b\r\n" % event for event in EVENTS))
    await asked.hang()


async def more_than_fits_and_broken(asked: Asked) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    await asked.write(head + b"".join(b"9\r\n%b\r\n" % event for event in EVENTS) + b"no chunk size\r\n")
    await asked.hang()


def test_what_came_before_a_break_comes_before_the_error_event(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(more_than_fits_and_broken) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            transaction.stalled = True
            await until(lambda: transaction.waiting_for_room)
            await until(lambda: worker.open == 0)
            while not transaction.done_calls:
                transaction.read_some()
                await until(lambda: transaction.waiting_for_room or transaction.done_calls > 0)
            assert transaction.parts[:-1] == EVENTS
            assert b'"bad_worker_answer"' in transaction.parts[-1]
            assert not transaction.whole
            assert bench.accounting.aborted == {"worker": 1}
            assert bench.evidence == [("a", 7, "bad-answer")]

    run(test)


def test_the_client_leaves_between_a_break_and_its_end(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(more_than_fits_and_broken) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            transaction.stalled = True
            await until(lambda: transaction.waiting_for_room and transaction.listening and worker.open == 0)
            transaction.leave()
            await bench.ended(transaction)
            assert bench.accounting.aborted.total() == 1
            assert not transaction.whole

    run(test)


@pytest.mark.parametrize("by", ["timeout", "shutdown"])
def test_nothing_follows_the_error_event_of_an_interruption(run: Run, by: str) -> None:
    """Parts that still waited for room must not come after the error, nor after the end."""

    async def test(bench: Bench) -> None:
        async with workers(more_than_fits) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            transaction.stalled = True
            await until(lambda: transaction.waiting_for_room)
            if by == "timeout":
                bench.configure(request_timeout=0)
                bench.forwarder.expire()
            else:
                bench.forwarder.interrupt_all()
            assert transaction.done_calls == 1
            transaction.read()
            await until(lambda: worker.open == 0)
            assert not transaction.whole
            assert not transaction.late
            assert b'"error"' in transaction.parts[-1]

    run(test)
