"""Streams of a decode worker that could not fetch the KV cache, in the bytes that vLLM was recorded with."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

import tests.compat
from tests.unit.dataplane.forward_bench import Bench, Run, error_of, well
from tests.unit.dataplane.pd.two import hands_over, pair
from tests.unit.dataplane.scripted_worker import Asked, Script

CAPTURES = Path(tests.compat.__file__).parent / "captures"
PATHS = {
    "completion": "/v1/completions",
    "chat": "/v1/chat/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
}
BODY = b'{"model":"m","stream":true,"prompt":"x","messages":[],"input":"x"}'


def recorded(name: str) -> Script:
    async def script(asked: Asked) -> None:
        head, _, body = (CAPTURES / f"not_fetched_{name}_stream.http").read_bytes().partition(b"\r\n\r\n")
        # What comes first comes by itself, as it does when the engine takes its time.
        *openings, rest = re.split(rb"(?<=\n\n\r\n)(?=.*error)", body, maxsplit=1, flags=re.DOTALL)
        await asked.write(head + b"\r\n\r\n")
        for opening in openings:
            await asked.write(opening)
            await asyncio.sleep(0.01)
        await asked.write(rest)
        await asked.close()

    return script


@pytest.mark.parametrize("name", ["completion", "chat", "messages"])
def test_g_pd_2_there_is_another_prefill_and_the_client_sees_nothing_of_the_first_one(run: Run, name: str) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [recorded(name), well]) as two:
            two.serve(bench)
            transaction = await bench.answer(BODY, path=PATHS[name])
            assert (transaction.status, transaction.body) == (200, b"well")
            assert (len(two.prefill[0].asked), len(two.decode[0].asked), len(two.decode[1].asked)) == (2, 1, 1)

    run(test)


@pytest.mark.parametrize("name", ["completion", "chat", "messages"])
def test_when_it_fails_again_the_client_gets_what_vllm_says(run: Run, name: str) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [recorded(name)] * 4) as two:
            two.serve(bench)
            transaction = await bench.answer(BODY, path=PATHS[name])
            assert transaction.status == 500
            assert json.loads(transaction.body)["error"]["message"]

    run(test)


def test_a_response_that_breaks_off_before_there_is_anything_of_it_is_an_error(run: Run) -> None:
    """vLLM tells nothing else of it."""

    async def test(bench: Bench) -> None:
        async with pair([hands_over], [recorded("responses")]) as two:
            two.serve(bench)
            transaction = await bench.answer(BODY, path=PATHS["responses"])
            assert transaction.status == 502
            assert error_of(transaction)["code"] == "bad_worker_answer"

    run(test)


@pytest.mark.parametrize("name", ["chat_stream", "chat_stream_load_header"])
def test_the_parts_of_an_answer_come_as_the_worker_sent_them(run: Run, name: str) -> None:
    async def script(asked: Asked) -> None:
        await asked.write((CAPTURES / f"{name}.http").read_bytes())

    async def test(bench: Bench) -> None:
        async with pair([hands_over], [script]) as two, pair([], [script]) as alone:
            alone.serve(bench)
            expected = await bench.answer(BODY, path="/v1/chat/completions")
            two.serve(bench)
            transaction = await bench.answer(BODY, path="/v1/chat/completions")
            assert b'"delta":{"role":"assistant","content":""}' in transaction.body
            assert transaction.body == expected.body
            assert two.handoffs() != [None]

    run(test)


@pytest.mark.parametrize("count", [1, 7])
def test_a_preamble_alone_is_passed_on(run: Run, count: int) -> None:
    role = b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'

    async def script(asked: Asked) -> None:
        await asked.begin()
        for _ in range(count):
            await asked.chunk(role)
        await asked.end()

    async def test(bench: Bench) -> None:
        async with pair([hands_over], [script]) as two:
            two.serve(bench)
            transaction = await bench.answer(BODY, path="/v1/chat/completions")
            assert (transaction.status, transaction.whole) == (200, True)
            assert transaction.body == role * count

    run(test)
