"""A request that ends engines must not end the fleet."""

from __future__ import annotations

import asyncio

import pytest

from dataplane import exchange
from tests.unit.dataplane.forward_bench import Bench, Run, error_of, well, workers
from tests.unit.dataplane.scripted_worker import Asked

POISON = b'{"model":"m","prompt":"poison"}'


async def dies_of_poison(asked: Asked) -> None:
    if asked.body == POISON:
        await asked.reset()
    else:
        await well(asked)


@pytest.mark.parametrize("warm", [False, True])
def test_a_post_that_ends_workers_reaches_two_at_most(run: Run, warm: bool) -> None:
    async def test(bench: Bench) -> None:
        async with workers(*[dies_of_poison] * 5) as fleet:
            bench.serve(*(worker.url for worker in fleet))
            for _ in fleet if warm else ():
                assert (await bench.answer()).status == 200
            transaction = await bench.answer(POISON)
            assert transaction.status == 503
            assert error_of(transaction)["code"] == "workers_unreachable"
            assert sum(any(asked.body == POISON for asked in worker.asked) for worker in fleet) == 2

    run(test)


def test_a_post_that_a_worker_held_is_not_sent_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "AT_ONCE", 0.0)

    async def held(asked: Asked) -> None:
        await asyncio.sleep(0.01)
        await asked.close()

    async def test(bench: Bench) -> None:
        async with workers(held, well) as (bad, good):
            bench.serve(bad.url, good.url)
            transaction = await bench.answer()
            assert transaction.status == 502
            assert error_of(transaction)["code"] == "bad_worker_answer"
            assert (len(bad.asked), len(good.asked)) == (1, 0)
            assert bench.evidence == [("a", 7, "closed-before-answer")]

    run(test)


def test_a_body_with_orders_that_can_not_be_cut_is_refused(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.serve(worker.url)
            deep = b'{"x":' + b"[" * 5000 + b"]" * 5000 + b',"kv_transfer_params":1}'
            for body in (b'{"model":"m","prompt":"caf\xe9","kv_transfer_params":null}', deep):
                transaction = await bench.answer(body)
                assert transaction.status == 400
                assert error_of(transaction)["code"] == "unreadable_body"
            assert worker.asked == []

    run(test)
