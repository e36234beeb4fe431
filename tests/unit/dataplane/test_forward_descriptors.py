"""A plane that may open no more connections says so itself, and blames no worker for it."""

from __future__ import annotations

import errno
import logging

import pytest

from dataplane.upstream.pool import Pool
from tests.unit.dataplane.forward_bench import Bench, Run, error_of, hang, well, workers
from tests.unit.dataplane.listening import until


def test_without_a_descriptor_the_answer_is_503_and_no_worker_is_blamed(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang, well) as (stuck, other):
            bench.serve(stuck.url, other.url)
            bench.fleet.allowance._limit = 1
            first = bench.ask()
            await until(lambda: len(stuck.asked) == 1)
            for _ in range(3):
                refused = await bench.answer()
                assert refused.status == 503
                assert error_of(refused)["code"] == "out_of_descriptors"
                assert refused.header(b"retry-after") == b"1"
            assert bench.evidence == []
            assert not bench.accounting.retries
            assert not bench.fleet.avoidance._failures
            first.leave()
            await until(lambda: bench.fleet.allowance.taken == 0)
            bench.skip_turn()
            assert (await bench.answer()).status == 200

    with caplog.at_level(logging.WARNING):
        run(test)
    assert sum("no file descriptor left" in record.getMessage() for record in caplog.records) == 3


def test_an_idle_connection_to_another_worker_is_closed_for_a_new_one(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well, well) as (one, other):
            bench.serve(one.url, other.url)
            bench.fleet.allowance._limit = 1
            for _ in range(6):
                assert (await bench.answer()).status == 200
            assert one.connections == other.connections == 3
            await until(lambda: bench.fleet.allowance.taken == 1)

    run(test)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_the_kernel_s_own_refusal_is_the_same(run: Run, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_descriptor(pool: Pool, timeout: float) -> None:
        raise OSError(number, "Too many open files")

    async def test(bench: Bench) -> None:
        async with workers(well, well) as (one, other):
            bench.serve(one.url, other.url)
            monkeypatch.setattr(Pool, "connect", no_descriptor)
            refused = await bench.answer()
            assert error_of(refused)["code"] == "out_of_descriptors"
            assert bench.evidence == []

    run(test)
