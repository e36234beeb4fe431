"""Limits that are set, changed and taken away while requests are open: these count as if they came now."""

from __future__ import annotations

from typing import Any

import pytest

from dataplane.client_keys import Holder
from shared.client_keys import ClientKey
from tests.unit.dataplane.fake_granian import FakeTransaction
from tests.unit.dataplane.forward_bench import Bench, Run, hang, workers
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.scripted_worker import ScriptedWorker

KEY = ClientKey(name="alice", digest=b"", max_concurrent_requests=2)
LIMITS: dict[str, dict[str, Any]] = {
    "total": {"max_concurrent_requests": 2},
    "model:m": {"model_limits": {"m": 2}},
    "key:alice:open": {"client_keys": (KEY,)},
}


def in_use(bench: Bench) -> dict[str, int]:
    return {name: quota.in_use for name, quota in bench.forwarder.limits.gate.quotas.items()}


async def open_some(bench: Bench, worker: ScriptedWorker, count: int, **more: Any) -> list[FakeTransaction]:
    """Ask so many times, of a worker that answers nobody."""
    there = len(worker.asked)
    asked = [bench.ask(key=Holder(KEY), **more) for _ in range(count)]
    await until(lambda: len(worker.asked) == there + count)
    return asked


async def end(bench: Bench, *transactions: FakeTransaction) -> None:
    for transaction in transactions:
        transaction.leave()
        await bench.ended(transaction)


@pytest.mark.parametrize("name", LIMITS)
def test_g_limit_1_a_limit_that_is_set_counts_what_is_open(run: Run, name: str) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            first, second, third = await open_some(bench, worker, 3)
            # What only looks at the fleet is no work for an engine, and one without its body has not gone on.
            others = [bench.ask(method="GET", path="/v1/models"), bench.ask(None)]
            await until(lambda: len(worker.asked) == 4)
            bench.configure(**LIMITS[name])
            assert in_use(bench) == {name: 3}
            bench.lend(**{name: 2})
            await end(bench, first)
            assert in_use(bench) == {name: 2}
            if name.startswith("key"):
                # Over one's own limit one is told at once.
                refused = await bench.answer(key=Holder(KEY))
                assert refused.status == 429
            else:
                waiting = bench.ask()
                await until(lambda: bench.forwarder.limits.waiting == 1)
                await end(bench, second)
                await until(lambda: len(worker.asked) == 5)
                await end(bench, waiting)
            for one in (second, third, *others):
                one.leave()

    run(test)


def test_a_second_limit_counts_those_that_are_counted_for_the_first(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            every = {key: value for limit in LIMITS.values() for key, value in limit.items()}
            bench.configure(max_concurrent_requests=9)
            bench.lend(total=9)
            asked = await open_some(bench, worker, 2)
            bench.configure(**every)
            assert in_use(bench) == {"total": 2, "model:m": 2, "key:alice:open": 2}
            # Set again they count once.
            bench.configure(**every, queue_size=7)
            assert in_use(bench) == {"total": 2, "model:m": 2, "key:alice:open": 2}
            await end(bench, asked[0])
            assert in_use(bench) == {"total": 1, "model:m": 1, "key:alice:open": 1}
            await end(bench, asked[1])

    run(test)


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_that_was_away_counts_those_from_before_and_those_that_came_meanwhile(run: Run, name: str) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            bench.configure(**LIMITS[name])
            bench.lend(**{name: 2})
            before = await open_some(bench, worker, 2)
            bench.configure()
            meanwhile = await open_some(bench, worker, 1)
            bench.configure(**LIMITS[name])
            assert in_use(bench) == {name: 3}
            await end(bench, *before, *meanwhile)
            assert in_use(bench) == {name: 0}

    run(test)


def test_those_that_wait_count_for_a_limit_of_their_key_that_is_set(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=1)
            bench.lend(total=1)
            (first,) = await open_some(bench, worker, 1)
            waiting = bench.ask(key=Holder(KEY))
            await until(lambda: bench.forwarder.limits.waiting == 1)
            bench.configure(max_concurrent_requests=1, client_keys=(KEY,))
            assert in_use(bench) == {"total": 1, "key:alice:open": 2}
            await end(bench, first)
            await until(lambda: len(worker.asked) == 2)
            assert in_use(bench) == {"total": 1, "key:alice:open": 1}
            await end(bench, waiting)

    run(test)


def test_a_limit_per_minute_that_is_set_counts_those_that_come_from_then_on(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            asked = await open_some(bench, worker, 2)
            key = ClientKey(name="alice", digest=b"", max_concurrent_requests=9, requests_per_minute=9)
            bench.configure(client_keys=(key,), rate_limit=10.0)
            await end(bench, *asked)
            assert in_use(bench) == {"rate": 0, "key:alice:open": 0, "key:alice:requests": 0}

    run(test)


def test_batch_requests_that_were_open_are_taken_back_for_others_that_wait(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            (batch,) = await open_some(bench, worker, 1, headers=[(b"x-routerctl-class", b"batch")])
            # Whatever it asked for, it has gone on.
            (odd,) = await open_some(bench, worker, 1, headers=[(b"x-routerctl-class", b"none such")])
            bench.configure(max_concurrent_requests=2, preempt_batch=True)
            bench.lend(total=2)
            better = bench.ask()
            await until(lambda: len(worker.asked) == 3)
            assert bench.forwarder.limits.waiting == 1
            assert bench.accounting.retries["preempted"] == 1
            for one in (batch, odd, better):
                one.leave()

    run(test)
