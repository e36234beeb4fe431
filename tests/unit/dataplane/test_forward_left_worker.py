"""A worker that was chosen leaves before the request was sent to it: another one gets the request, at once."""

from __future__ import annotations

import pytest

from shared.table import Worker
from tests.unit.dataplane.forward_bench import Bench, Run, error_of, hang, well, workers
from tests.unit.dataplane.listening import blackhole_port, until


@pytest.mark.parametrize("how", ["drained", "gone"])
def test_a_request_that_waits_for_a_worker_that_leaves_goes_to_another(run: Run, how: str) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            with blackhole_port() as port:
                leaving = Worker(id="leaving", url=f"http://127.0.0.1:{port}", state="ready")
                staying = Worker(id="staying", url=worker.url, state="ready")
                bench.serve_workers(leaving, staying)
                transaction = bench.ask()
                await until(lambda: bench.fleet.inflight() == {"leaving": 1})
                if how == "drained":
                    bench.serve_workers(Worker(id="leaving", url=leaving.url, state="draining"), staying)
                else:
                    bench.serve_workers(staying)
                await bench.ended(transaction)
            assert transaction.body == b"well"
            # It was no failure of anybody's.
            assert bench.evidence == []
            assert not bench.accounting.retries

    run(test)


def test_when_nobody_is_left_the_client_hears_so_at_once(run: Run) -> None:
    async def test(bench: Bench) -> None:
        with blackhole_port() as port:
            worker = Worker(id="leaving", url=f"http://127.0.0.1:{port}", state="ready")
            bench.serve_workers(worker)
            transaction = bench.ask()
            await until(lambda: bench.fleet.inflight() == {"leaving": 1})
            bench.serve_workers(Worker(id="leaving", url=worker.url, state="draining"))
            await bench.ended(transaction)
        assert transaction.status == 503
        assert error_of(transaction)["code"] == "no_worker_available"

    run(test)


def test_a_request_that_was_sent_stays_where_it_is(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang, well) as (draining, other):
            first = Worker(id="a", url=draining.url, state="ready")
            second = Worker(id="b", url=other.url, state="ready")
            bench.serve_workers(first, second)
            transaction = bench.ask()
            await until(lambda: bool(draining.asked))
            bench.serve_workers(Worker(id="a", url=draining.url, state="draining"), second)
            assert (await bench.answer()).body == b"well"
            assert bench.fleet.inflight() == {"a": 1}
            await draining.asked[0].answer(b"late but whole")
            # The script reads until the router closes; the answer is whole before that.
            assert (await bench.ended(transaction)).body == b"late but whole"

    run(test)


def test_a_reused_connection_that_broke_is_not_made_anew_to_a_worker_that_left(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well, well) as (leaving, staying):
            first = Worker(id="a", url=leaving.url, state="ready")
            second = Worker(id="b", url=staying.url, state="ready")
            bench.serve_workers(first)
            await bench.answer()
            leaving.script = hang
            transaction = bench.ask()
            await until(lambda: len(leaving.asked) == 2)
            bench.serve_workers(Worker(id="a", url=leaving.url, state="draining"), second)
            await leaving.asked[1].close()
            assert (await bench.ended(transaction)).body == b"well"
            assert (leaving.connections, len(staying.asked)) == (1, 1)

    run(test)
