"""Requests that a worker did not take: who is tried next, how often, and what the control plane is told."""

from __future__ import annotations

import pytest

from dataplane.upstream.connection import UpstreamConnection
from tests.unit.dataplane.forward_bench import (
    Bench,
    Run,
    close_at_once,
    error_of,
    reset_at_once,
    well,
    workers,
)
from tests.unit.dataplane.listening import blackhole_port, refusing_port, until
from tests.unit.dataplane.scripted_worker import Asked, Script, ScriptedWorker


def test_a_refused_connection_goes_to_another_worker(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            with refusing_port() as port:
                bench.serve(f"http://127.0.0.1:{port}", worker.url)
                transaction = await bench.answer()
            assert transaction.body == b"well"
            assert bench.evidence == [("a", 7, "connect-failed")]
            assert bench.accounting.retries == {"connect-failed": 1}
            assert bench.accounting.worker_requests == {"a": 1, "b": 1}

    run(test)


@pytest.mark.parametrize("number", [1, 3, 7])
def test_a_request_that_nobody_takes_is_refused_after_few_attempts(run: Run, number: int) -> None:
    """Each worker once before any is asked again, five attempts in all."""

    async def test(bench: Bench) -> None:
        bench.configure(retry_initial_backoff=0.001)
        with refusing_port() as port:
            bench.serve(*[f"http://127.0.0.1:{port}"] * number)
            transaction = await bench.answer()
        assert transaction.status == 503
        assert error_of(transaction)["code"] == "workers_unreachable"
        assert "in 5 attempts" in error_of(transaction)["message"]
        asked = [worker for worker, _, _ in bench.evidence]
        assert len(asked) == 5
        assert len(set(asked[:number])) == min(number, 5)
        assert bench.accounting.retries.total() == 4

    run(test)


def test_a_host_that_never_answers_costs_the_connect_timeout(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            with blackhole_port() as port:
                bench.configure(connect_timeout=0.3)
                bench.serve(f"http://127.0.0.1:{port}", worker.url)
                assert (await bench.answer()).body == b"well"
            assert bench.evidence == [("a", 7, "connect-failed")]

    run(test)


@pytest.mark.parametrize("script", [close_at_once, reset_at_once])
def test_a_fresh_connection_closed_before_the_answer_goes_to_another_worker(run: Run, script: Script) -> None:
    async def test(bench: Bench) -> None:
        async with workers(script, well) as (bad, good):
            bench.serve(bad.url, good.url)
            assert (await bench.answer()).body == b"well"
            assert (len(bad.asked), len(good.asked)) == (1, 1)
            assert bench.evidence == [("a", 7, "closed-before-answer")]
            assert bench.accounting.retries == {"closed-before-answer": 1}

    run(test)


def test_retries_can_be_switched_off(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(close_at_once, well) as (bad, good):
            bench.configure(max_attempts=1)
            bench.serve(bad.url, good.url)
            transaction = await bench.answer()
            assert error_of(transaction)["code"] == "workers_unreachable"
            assert (len(bad.asked), len(good.asked)) == (1, 0)

    run(test)


def test_a_reused_connection_closed_before_the_answer_is_tried_once_more_there(run: Run) -> None:
    async def once_per_connection(asked: Asked) -> None:
        if asked.number == 1:
            await asked.answer()
        else:
            await asked.close()

    async def test(bench: Bench) -> None:
        async with workers(once_per_connection, well) as (worker, other):
            bench.serve(worker.url)
            assert (await bench.answer()).whole
            # Another one is there by now, and is not asked.
            bench.serve(worker.url, other.url)
            bench.skip_turn()
            transaction = await bench.answer()
            assert transaction.body == b"ok"
            assert [asked.number for asked in worker.asked] == [1, 2, 1]
            assert not other.asked
            assert not bench.evidence
            assert bench.accounting.retries == {"closed-before-answer": 1}
            assert worker.connections == 2

    run(test)


def test_the_fresh_connection_after_a_reused_one_counts_as_fresh(run: Run) -> None:
    """A worker that closes every connection after one answer and then dies: no endless second tries."""

    async def dying(asked: Asked) -> None:
        if len(worker_of[0].asked) == 1:
            await asked.answer()
        else:
            await asked.close()

    worker_of: list[ScriptedWorker] = []

    async def test(bench: Bench) -> None:
        async with workers(dying) as (worker,):
            worker_of.append(worker)
            bench.configure(max_attempts=2)
            bench.serve(worker.url)
            assert (await bench.answer()).whole
            transaction = await bench.answer()
            assert error_of(transaction)["code"] == "workers_unreachable"
            # The good answer, the stale connection, which is no attempt, and two attempts.
            assert len(worker.asked) == 4
            assert bench.evidence == [("a", 7, "closed-before-answer")] * 2
        worker_of.clear()

    run(test)


def test_a_connection_lost_before_it_was_handed_over_does_not_hang_the_request(run: Run) -> None:
    """Between a connection's making and its use the loop turns; in that moment a worker may close it."""

    async def test(bench: Bench) -> None:
        async with workers(well, well) as (bad, good):
            bench.serve(bad.url, good.url)
            pool = bench.fleet.view.ready[0].pool
            connect = pool.connect

            async def connect_and_lose(timeout: float) -> UpstreamConnection:
                connection = await connect(timeout)
                for writer in list(bad._writers):
                    writer.transport.abort()
                await until(lambda: connection.closed)
                return connection

            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(pool, "connect", connect_and_lose)
                transaction = bench.ask()
                await until(lambda: bench.inflight() == 1)
            try:
                await bench.ended(transaction)
            finally:
                bench.forwarder.interrupt_all()
            assert transaction.body == b"well"
            assert good.asked
            assert not bench.faults

    run(test)
