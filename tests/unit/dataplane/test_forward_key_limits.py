"""Requests of keys with limits of their own: what they are answered, what they are told, and what is settled."""

from __future__ import annotations

import json

import pytest

from dataplane.admission.window import Window
from dataplane.client_keys import Holder
from dataplane.receipt_writing import receipt
from shared.client_keys import ClientKey
from tests.unit.dataplane.fake_granian import FakeTransaction
from tests.unit.dataplane.forward_bench import Bench, Run, begin_and_hang, close_at_once, hang, workers
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.scripted_worker import Asked

CHAT = b'{"model":"m","prompt":"%b","max_tokens":50}' % (b"x" * 157)
PROMPT = len(CHAT) // 4


def limited(
    bench: Bench, *, max_concurrent_requests: int = 0, requests_per_minute: int = 0, tokens_per_minute: int = 0
) -> Holder:
    """Serve a key with these limits, all of them lent to this plane."""
    key = ClientKey(
        name="alice",
        digest=b"",
        max_concurrent_requests=max_concurrent_requests,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
    )
    bench.configure(client_keys=(key,))
    whole = {"open": key.max_concurrent_requests, "requests": key.requests_per_minute, "tokens": key.tokens_per_minute}
    bench.lend(**{f"key:alice:{what}": amount for what, amount in whole.items() if amount})
    return Holder(key)


def used(bench: Bench, what: str) -> int:
    window = bench.forwarder.limits.gate.quotas[f"key:alice:{what}"]
    assert isinstance(window, Window)
    in_use = window.in_use
    # What it counts for another minute is no leftover.
    window.pass_on(bench.forwarder.loop.time() + 100)
    return in_use


def told(transaction: FakeTransaction, what: str) -> bytes:
    return transaction.header(b"x-ratelimit-" + what.encode()) or b""


async def counted(asked: Asked) -> None:
    await asked.answer(
        b'{"choices":[],"usage":{"prompt_tokens":30,"completion_tokens":12,"total_tokens":42}}',
        fields=b"x-ratelimit-limit-requests: 1\r\nx-worker: 1\r\n",
    )


async def streamed(asked: Asked) -> None:
    await asked.begin()
    for number in range(7):
        await asked.chunk(b"data: %d\n\n" % number)
    await asked.chunk(b"data: [DONE]\n\n")
    await asked.end()


async def failing(asked: Asked) -> None:
    await asked.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}")


def test_a_key_s_answers_tell_its_limits_in_the_place_of_what_a_worker_tells(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(counted) as (worker,):
            bench.serve(worker.url)
            key = limited(bench, requests_per_minute=60, tokens_per_minute=1000)
            answer = await bench.answer(CHAT, key=key)
            assert answer.status == 200
            assert [value for name, value in answer.headers if name == b"x-ratelimit-limit-requests"] == [b"60"]
            assert (told(answer, "remaining-requests"), told(answer, "limit-tokens")) == (b"59", b"1000")
            assert told(answer, "remaining-tokens") == b"%d" % (1000 - PROMPT - 50)
            assert told(answer, "reset-tokens")[:2] in (b"1m", b"60", b"59")
            assert answer.header(b"x-worker") == b"1"
            assert (used(bench, "requests"), used(bench, "tokens")) == (1, 42)
            free = await bench.answer(CHAT, key=Holder(ClientKey(name="free", digest=b"")))
            assert told(free, "limit-requests") == b"1"

    run(test)


@pytest.mark.parametrize(
    ("script", "tokens"), [(counted, 42), (streamed, PROMPT + 7), (failing, 0), (close_at_once, 0)]
)
def test_tokens_are_settled_by_usage_or_by_what_was_sent(run: Run, script, tokens: int) -> None:  # type: ignore[no-untyped-def]
    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_attempts=1)
            key = limited(bench, tokens_per_minute=1000)
            await bench.answer(CHAT, key=key)
            assert used(bench, "tokens") == tokens

    run(test)


def test_a_client_that_leaves_pays_for_what_was_sent(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(begin_and_hang) as (worker,):
            bench.serve(worker.url)
            key = limited(bench, max_concurrent_requests=1, tokens_per_minute=1000)
            transaction = bench.ask(CHAT, key=key)
            await until(lambda: len(transaction.sent) == 2)
            transaction.leave()
            await bench.ended(transaction)
            assert used(bench, "tokens") == PROMPT + 1

    run(test)


def test_over_the_requests_of_a_minute_a_client_is_told_at_once_as_openai_does(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(counted) as (worker,):
            bench.serve(worker.url)
            key = limited(bench, requests_per_minute=2)
            for _ in range(2):
                await bench.answer(CHAT, key=key)
            refused = await bench.answer(CHAT, key=key)
            error = json.loads(refused.body)["error"]
            assert (refused.status, error["type"], error["code"]) == (429, "requests", "rate_limit_exceeded")
            assert "(requests_per_minute): Limit 2, Used 2, Requested 1. Try again in" in error["message"]
            assert 50 <= int(refused.header(b"retry-after") or 0) <= 60
            assert told(refused, "remaining-requests") == b"0"
            assert told(refused, "limit-tokens") == b""
            assert len(worker.asked) == 2
            assert bench.accounting.errors == {("client", "rate_limit_exceeded"): 1}
            anthropic = await bench.answer(CHAT, key=key, path="/v1/messages")
            assert json.loads(anthropic.body)["error"]["type"] == "rate_limit_error"
            record = bench.forwarder.receipts.find(b"mine")
            assert record is not None
            assert receipt(record, plane="0", arrived=0.0).limit == "key:alice:requests"
            used(bench, "requests")

    run(test)


def test_more_than_a_key_may_ever_have_is_not_to_be_tried_again(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(counted) as (worker,):
            bench.serve(worker.url)
            key = limited(bench, tokens_per_minute=80)
            refused = await bench.answer(CHAT, key=key)
            error = json.loads(refused.body)["error"]
            assert (refused.status, error["type"], refused.header(b"x-should-retry")) == (429, "tokens", b"false")
            assert f"are {PROMPT + 50} tokens, and the key has 80 per minute (tokens_per_minute)" in error["message"]
            assert refused.header(b"retry-after") is None
            assert worker.asked == []

    run(test)


def test_over_the_requests_at_a_time_a_client_is_told_at_once(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            key = limited(bench, max_concurrent_requests=1)
            first = bench.ask(key=key)
            await until(lambda: len(worker.asked) == 1)
            refused = await bench.answer(key=key)
            assert (refused.status, refused.header(b"retry-after")) == (429, b"1")
            assert "(max_concurrent_requests)" in json.loads(refused.body)["error"]["message"]
            first.leave()
            await bench.ended(first)
            second = bench.ask(key=key)
            await until(lambda: len(worker.asked) == 2)
            second.leave()

    run(test)


def test_where_no_lease_is_there_yet_a_request_waits_for_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataplane.admission.gate.LEASE_WAIT", 60.0)

    async def test(bench: Bench) -> None:
        async with workers(counted) as (worker,):
            bench.serve(worker.url)
            key = limited(bench, max_concurrent_requests=10)
            bench.lend(**{"key:alice:open": 0})
            waiting = [bench.ask(CHAT, key=key) for _ in range(5)]
            await until(lambda: bench.forwarder.limits.waiting == 5)
            waiting.pop().leave()
            await until(lambda: bench.forwarder.limits.waiting == 4)
            bench.lend(**{"key:alice:open": 4})
            for transaction in waiting:
                await bench.ended(transaction)
                assert transaction.status == 200
            assert len(worker.asked) == 4

    run(test)


def test_where_no_lease_comes_all_that_wait_are_refused(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(counted) as (worker,):
            bench.serve(worker.url)
            key = limited(bench, requests_per_minute=10_000)
            bench.lend(**{"key:alice:requests": 0})
            waiting = [bench.ask(CHAT, key=key) for _ in range(900)]
            for transaction in waiting:
                await bench.ended(transaction)
                assert transaction.status == 429
            assert worker.asked == []

    run(test)
