"""Answers that break off: never sent again, and never taken for whole ones by the client."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.unit.dataplane.forward_bench import (
    Bench,
    Run,
    an_interim_answer_only,
    error_of,
    garbage,
    half_a_head,
    half_a_small_answer,
    truncated_by_garbage,
    well,
    workers,
)
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.scripted_worker import Asked, Script


@pytest.mark.parametrize("script", [half_a_small_answer, half_a_head, an_interim_answer_only, garbage])
def test_an_answer_that_breaks_off_before_the_clients_start_is_an_error_and_never_sent_again(
    run: Run, script: Script
) -> None:
    async def test(bench: Bench) -> None:
        async with workers(script, well) as (bad, good):
            bench.serve(bad.url, good.url)
            transaction = await bench.answer()
            assert transaction.status == 502
            assert transaction.whole
            assert error_of(transaction)["code"] == "bad_worker_answer"
            assert (len(bad.asked), len(good.asked)) == (1, 0)
            assert bench.evidence == [("a", 7, "bad-answer")]
            assert bench.accounting.rejected == {"bad_worker_answer": 1}
            await until(lambda: bad.open == 0)

    run(test)


async def truncated_by_close(asked: Asked) -> None:
    await asked.close()


async def truncated_by_reset(asked: Asked) -> None:
    await asked.reset()


@pytest.mark.parametrize("breaks", [truncated_by_close, truncated_by_reset, truncated_by_garbage])
@pytest.mark.parametrize("kind", [b"text/event-stream", b"text/event-stream; charset=utf-8", b"application/json", b""])
def test_an_answer_that_breaks_off_after_the_clients_start_is_seen_to_be_broken(
    run: Run, breaks: Script, kind: bytes
) -> None:
    gate = asyncio.Event()

    async def script(asked: Asked) -> None:
        await asked.begin(fields=b"Content-Type: %b\r\n" % kind if kind else b"")
        await asked.chunk(b"data: 1\n\n")
        await gate.wait()
        await breaks(asked)

    async def test(bench: Bench) -> None:
        async with workers(script, well) as (bad, good):
            bench.serve(bad.url, good.url)
            transaction = bench.ask()
            await until(lambda: len(transaction.sent) == 2)
            gate.set()
            await bench.ended(transaction)
            assert not transaction.whole
            assert transaction.parts[0] == b"data: 1\n\n"
            if kind.startswith(b"text/event-stream"):
                (event,) = transaction.parts[1:]
                assert event.startswith(b"data: ")
                assert event.endswith(b"\n\n")
                error = json.loads(event.removeprefix(b"data: "))["error"]
                assert error["code"] == "bad_worker_answer"
                assert "mine" in error["message"]
            else:
                assert not transaction.parts[1:]
            assert bench.evidence == [("a", 7, "bad-answer")]
            assert bench.accounting.aborted == {"worker": 1}
            assert not good.asked
            await until(lambda: bad.open == 0)

    run(test)


def test_a_large_answer_that_breaks_off_gets_no_clean_end(run: Run) -> None:
    async def script(asked: Asked) -> None:
        await asked.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 1000)
        await asked.close()

    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            transaction = await bench.answer()
            assert not transaction.whole
            assert bench.accounting.aborted == {"worker": 1}

    run(test)
