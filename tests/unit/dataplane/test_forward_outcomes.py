"""What a request tells of its worker: success, failure, or nothing."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.dataplane.forward_bench import Bench, Run, close_at_once, hang, stream, well, workers
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.scripted_worker import Asked, Script


def answering(status: int, fields: bytes = b"") -> Script:
    async def script(asked: Asked) -> None:
        await asked.answer(b"x", status=status, fields=fields)

    return script


async def late_stream(asked: Asked) -> None:
    await asked.begin()
    await asyncio.sleep(0.1)
    await asked.chunk(b"data: first\n\n")
    await asked.end()


async def leave_after_the_last_event(asked: Asked) -> None:
    await asked.begin()
    await asked.chunk(b"data: x\n\n")
    await asked.chunk(b"data: [DONE]\n\n")
    await asked.hang()


@pytest.mark.parametrize(
    ("script", "answers", "succeeded", "failed", "streams"),
    [
        (well, 1, 1, 0, 0),
        (stream, 1, 1, 0, 1),
        (answering(404), 1, 0, 0, 0),
        (answering(429), 1, 0, 0, 0),
        (answering(503, b"retry-after: 1\r\n"), 1, 0, 0, 0),
        (answering(500), 1, 0, 1, 0),
        (close_at_once, 0, 0, 1, 0),
    ],
)
def test_what_counts(run: Run, script: Script, answers: int, succeeded: int, failed: int, streams: int) -> None:
    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.configure(max_attempts=1)
            bench.serve(worker.url)
            await bench.answer()
            (told,) = bench.fleet.outcomes().values()
            assert (told.epoch, told.answers, told.succeeded) == (7, answers, succeeded)
            assert (told.failed, told.streams) == (failed, streams)

    run(test)


def test_a_stream_begins_with_its_first_part_not_with_its_head(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(late_stream) as (worker,):
            bench.serve(worker.url)
            await bench.answer()
            (told,) = bench.fleet.outcomes().values()
            assert told.first_byte_seconds > 0.09

    run(test)


def test_a_client_that_leaves_says_nothing(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            asked = bench.ask()
            await until(lambda: bool(worker.asked))
            asked.leave()
            await bench.ended(asked)
            assert bench.fleet.outcomes() == {}

    run(test)


def test_one_that_leaves_after_the_last_event_has_had_its_answer(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(leave_after_the_last_event) as (worker,):
            bench.serve(worker.url)
            asked = bench.ask()
            await until(lambda: b"[DONE]" in asked.body)
            asked.leave()
            await bench.ended(asked)
            (told,) = bench.fleet.outcomes().values()
            assert (told.succeeded, told.failed) == (1, 0)

    run(test)
