"""A policy that needs a moment before it can choose: the request waits, and can end meanwhile."""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections.abc import Sequence
from typing import Any

import pytest

from dataplane.policies.base import C, Policy, RequestView, Why
from tests.unit.dataplane.forward_bench import Bench, Run, error_of, well, workers
from tests.unit.dataplane.listening import until


class Slow(Policy):
    """Chooses by what was prepared: the number of a candidate."""

    name = "slow"

    def prepare(self, request: RequestView) -> Future[Any] | None:
        PREPARING.append(asyncio.get_running_loop().create_future())
        return PREPARING[-1]

    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        assert isinstance(request.prepared, int)
        PICKED.append(request.prepared)
        return candidates[request.prepared % len(candidates)]


PREPARING: list[Future[Any]] = []
PICKED: list[int] = []


@pytest.fixture(autouse=True)
def _afresh() -> None:
    PREPARING.clear()
    PICKED.clear()
    return


def serve(bench: Bench, *urls: str) -> None:
    bench.configure(policy=f"{__name__}:Slow")
    bench.serve(*urls)


def test_the_choice_waits_for_its_preparation(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well, well) as (one, other):
            serve(bench, one.url, other.url)
            transaction = bench.ask()
            await until(lambda: bool(PREPARING))
            assert PICKED == []
            PREPARING[0].set_result(1)
            assert (await bench.ended(transaction)).body == b"well"
            assert (one.connections, other.connections, PICKED) == (0, 1, [1])

    run(test)


def test_a_client_that_leaves_meanwhile_is_sent_nowhere(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            serve(bench, worker.url)
            transaction = bench.ask()
            await until(lambda: bool(PREPARING) and transaction.listening)
            transaction.leave()
            await bench.ended(transaction)
            PREPARING[0].set_result(0)
            await asyncio.sleep(0)
            assert (worker.connections, PICKED) == (0, [])
            assert bench.accounting.aborted == {"client": 1}

    run(test)


def test_a_preparation_that_fails_is_that_requests_error(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            serve(bench, worker.url)
            transaction = bench.ask()
            await until(lambda: bool(PREPARING))
            PREPARING[0].set_exception(RuntimeError("broken"))
            await bench.ended(transaction)
            assert (transaction.status, error_of(transaction)["code"]) == (500, "internal_error")

    run(test)
    assert "broken" in caplog.text


def test_workers_may_leave_meanwhile(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            serve(bench, worker.url)
            transaction = bench.ask()
            await until(lambda: bool(PREPARING))
            bench.serve()
            PREPARING[0].set_result(0)
            await bench.ended(transaction)
            assert transaction.status == 503

    run(test)
