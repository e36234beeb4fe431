"""All misbehaviours at once, at random, on both sides."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.unit.dataplane.forward_bench import (
    BODY,
    Bench,
    Run,
    begin_and_hang,
    close_at_once,
    garbage,
    half_a_head,
    half_a_small_answer,
    hang,
    reset_at_once,
    stream,
    truncated_by_garbage,
    well,
    workers,
)
from tests.unit.dataplane.listening import refusing_port, until
from tests.unit.dataplane.scripted_worker import Asked, Script

MISBEHAVIOURS: list[Script] = [
    well,
    well,
    stream,
    stream,
    close_at_once,
    reset_at_once,
    half_a_small_answer,
    half_a_head,
    garbage,
    begin_and_hang,
    hang,
    truncated_by_garbage,
]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_everything_is_given_back_and_the_figures_add_up(run: Run, seed: int) -> None:
    rng = random.Random(seed)

    async def any_of_them(asked: Asked) -> None:
        await rng.choice(MISBEHAVIOURS)(asked)

    async def test(bench: Bench) -> None:
        async with workers(any_of_them, any_of_them, any_of_them) as started:
            with refusing_port() as port:
                urls = [*(worker.url for worker in started), f"http://127.0.0.1:{port}"]
                bench.serve(*urls)
                for number in range(150):
                    transaction = bench.ask(BODY if rng.random() < 0.9 else None)
                    transaction.stalled = rng.random() < 0.3
                    if rng.random() < 0.2:
                        await asyncio.sleep(0.002)
                    chosen = rng.choice(bench.transactions)
                    if not chosen.done_calls:
                        rng.choice([chosen.leave, chosen.read, chosen.read_some])()
                    if number % 40 == 20:
                        bench.serve(*rng.sample(urls, 3))
                    if number % 50 == 49:
                        bench.fleet.reap()
                # What still hangs is ended by the plane.
                await until(lambda: len(bench.forwarder._requests) < 120)
                bench.forwarder.interrupt_all()
                await until(lambda: bench.idle() == sum(worker.open for worker in started))

    run(test)
