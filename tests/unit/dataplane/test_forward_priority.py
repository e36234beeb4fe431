"""Requests where workers have priorities: the best ones first, the others when those can not be used."""

from __future__ import annotations

import pytest

from dataplane import avoidance
from shared.table import Worker
from tests.unit.dataplane.forward_bench import Bench, Run, well, workers
from tests.unit.dataplane.listening import refusing_port


def named(name: str, url: str, priority: int, weight: float = 1.0) -> Worker:
    return Worker(id=name, url=url, state="ready", models=("m",), priority=priority, weight=weight)


def test_the_best_priority_takes_all(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well, well, well) as (low, high, last):
            bench.serve_workers(
                named("low", low.url, 10), named("high", high.url, 60), named("last", last.url, 99, weight=0)
            )
            for _ in range(20):
                assert (await bench.answer()).body == b"well"
            assert bench.accounting.worker_requests == {"high": 20}

    run(test)


def test_a_request_spills_over_and_the_next_ones_do_not_even_try(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avoidance, "FIRST_PAUSE", avoidance.LONGEST_PAUSE)

    async def test(bench: Bench) -> None:
        async with workers(well) as (low,):
            with refusing_port() as port:
                url = f"http://127.0.0.1:{port}"
                bench.serve_workers(named("a", url, 60), named("b", url, 60), named("low", low.url, 10))
                for _ in range(5):
                    assert (await bench.answer()).body == b"well"
            assert bench.accounting.worker_requests == {"a": 1, "b": 1, "low": 5}
            assert bench.accounting.retries == {"connect-failed": 2}

    run(test)


def test_an_open_breaker_hands_over_to_the_next_priority(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well, well) as (low, high):
            bench.configure(cb_failure_threshold=1)
            bench.serve_workers(named("low", low.url, 10), named("high", high.url, 60))
            bench.fleet.blame(bench.fleet.view.candidates("m")[0])
            for _ in range(3):
                assert (await bench.answer()).body == b"well"
            assert bench.accounting.worker_requests == {"low": 3}

    run(test)
