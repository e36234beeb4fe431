"""What a policy expects an engine to compute counts at the worker until the answer begins, or the attempt is over."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.dataplane.forward_bench import Bench, Run, close_at_once, hang, workers
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.scripted_worker import Asked

BODY = b'{"model":"m","prompt":"%b"}' % (b"x" * 4000)
TOKENS = 1001


def use(bench: Bench, *urls: str) -> None:
    bench.serve(*urls)
    bench.configure(policy="cache_aware")


@pytest.mark.parametrize("streamed", [True, False])
def test_a_prompt_counts_until_its_answer_begins(run: Run, streamed: bool) -> None:
    """A stream's head comes before the engine has begun; an answer in one piece begins when it is complete."""

    async def test(bench: Bench) -> None:
        go = asyncio.Event()
        begun = asyncio.Event()

        async def script(asked: Asked) -> None:
            if streamed:
                await asked.begin()
            begun.set()
            await go.wait()
            if streamed:
                await asked.chunk(b"data: x\n\n")
                await asked.hang()
            else:
                await asked.answer(b"ok")

        async with workers(script) as (worker,):
            use(bench, worker.url)
            asked = bench.ask(BODY)
            await begun.wait()
            assert bench.prefill() == TOKENS
            assert bench.fleet.prefill() == {"a": TOKENS}
            go.set()
            await until(lambda: bench.prefill() == 0)
            assert bench.inflight() == (1 if streamed else 0)
            asked.leave()
            await bench.ended(asked)

    run(test)


def test_a_refusal_says_nothing_of_the_prompts_before_it(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async def script(asked: Asked) -> None:
            if asked.body == BODY:
                await asked.hang()
            else:
                await asked.answer(b"no", status=400)

        async with workers(script) as (worker,):
            use(bench, worker.url)
            first = bench.ask(BODY)
            await until(lambda: bool(worker.asked))
            await bench.answer(b'{"model":"m","prompt":"%b"}' % (b"y" * 400))
            assert bench.prefill() == TOKENS
            first.leave()
            await bench.ended(first)
            assert bench.prefill() == 0

    run(test)


def test_a_prompt_goes_along_to_the_next_worker(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(close_at_once, hang) as (broken, living):
            use(bench, broken.url, living.url)
            # Whoever is first: sooner or later a request comes from the broken one to the other.
            asked = [bench.ask(BODY.replace(b"x", b"%d" % number)) for number in range(8)]
            await until(lambda: len(living.asked) == 8)
            assert bench.fleet.prefill() == {"b": 8 * TOKENS}
            for one in asked:
                one.leave()
                await bench.ended(one)
            assert bench.prefill() == 0

    run(test)


def test_other_policies_count_nothing(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            asked = bench.ask(BODY)
            await until(lambda: bool(worker.asked))
            assert bench.prefill() == 0
            asked.leave()
            await bench.ended(asked)

    run(test)
