"""Two workers for one request, and everything that can go wrong between them.

In each test some handoffs are given; none may ever reach two workers, or one worker twice.
"""

from __future__ import annotations

import asyncio
import gc
import json

import msgspec
import pytest

from dataplane import exchange
from dataplane.attempts import Attempts
from dataplane.exchange import Exchange
from dataplane.pd import collector
from dataplane.pd.collector import Collector
from dataplane.pd.transaction import Disaggregated
from dataplane.receipt_writing import receipt
from tests.unit.dataplane.forward_bench import (
    Bench,
    Run,
    begin_and_hang,
    close_at_once,
    error_of,
    half_a_small_answer,
    hang,
    stream,
    well,
)
from tests.unit.dataplane.listening import refusing_port, until
from tests.unit.dataplane.pd.two import BODY, answers, first, hands_over, pair
from tests.unit.dataplane.scripted_worker import Asked, Script, ScriptedWorker


def test_each_leg_gets_what_it_needs_and_the_client_gets_the_answer(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [stream]) as two:
            two.serve(bench)
            transaction = await bench.answer(BODY, headers=[(b"accept-encoding", b"gzip"), (b"x-else", b"1")])
            assert transaction.body == b"".join(b"data: %d\n\n" % number for number in range(5))
            (prefill,), (decode,) = two.prefill[0].asked, two.decode[0].asked
            assert json.loads(prefill.body)["max_tokens"] == 1
            assert json.loads(prefill.body)["stream"] is False
            assert decode.body.endswith(b',"model":"m", "prompt":"x","stream":true, "max_tokens":5}')
            for asked in (prefill, decode):
                assert asked.line == b"POST /v1/completions HTTP/1.1"
                assert (asked.field(b"x-request-id"), asked.field(b"x-else")) == (b"mine", b"1")
            assert (prefill.field(b"accept-encoding"), decode.field(b"accept-encoding")) == (None, None)
            assert len(set(two.handoffs())) == 1
            assert bench.accounting.disaggregated == {"two-workers": 1}
            assert bench.accounting.retries.total() == 0
            record = bench.forwarder.receipts.find(b"mine")
            assert record is not None
            told = receipt(record, plane="0", arrived=0.0)
            assert [(one.leg, one.worker, one.failed) for one in told.attempts] == [
                ("prefill", "p0", ""), ("decode", "d0", ""),
            ]  # fmt: skip
            assert {one.worker: one.reason for one in told.attempts[0].left_out} == {"d0": "is a decode worker"}

    run(test)


def test_a_prefill_worker_holds_a_request_until_its_answer_a_decode_worker_until_the_last_byte(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [begin_and_hang]) as two:
            two.serve(bench)
            transaction = bench.ask(BODY)
            await until(lambda: bool(transaction.body))
            assert {slot.id: slot.inflight for slot in bench._slots} == {"p0": 0, "d0": 1}
            transaction.leave()
            await until(lambda: not two.decode[0].open)

    run(test)


@pytest.mark.parametrize("number", [2, 3])
def test_each_pool_takes_turns_by_itself(run: Run, number: int) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over] * number, [well] * number) as two:
            two.serve(bench)
            for _ in range(2 * number):
                await bench.answer(BODY)
            assert [len(worker.asked) for worker in (*two.prefill, *two.decode)] == [2] * 2 * number

    run(test)


# --- prefill ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [answers(503), answers(429), close_at_once])
def test_a_prefill_that_is_not_taken_goes_to_another_prefill_worker(run: Run, script: Script) -> None:
    async def test(bench: Bench) -> None:
        async with pair([script, hands_over], [well]) as two:
            two.serve(bench)
            assert (await bench.answer(BODY)).body == b"well"
            assert [len(worker.asked) for worker in (*two.prefill, *two.decode)] == [1, 1, 1]
            assert two.handoffs() != [None]

    run(test)


@pytest.mark.parametrize("status", [400, 404, 422, 500, 502])
def test_an_error_of_the_prefill_worker_is_the_answer(run: Run, status: int) -> None:
    async def test(bench: Bench) -> None:
        async with pair([answers(status, b"x-worker: 1\r\n", b"why")], [well]) as two:
            two.serve(bench)
            transaction = await bench.answer(BODY)
            assert (transaction.status, transaction.body) == (status, b"why")
            assert (b"x-worker", b"1") in transaction.headers
            assert not two.decode[0].asked

    run(test)


@pytest.mark.parametrize(
    "body", [b'{"kv_transfer_params":null}', b"{}", b"text", b'{"kv_transfer_params":{"do_remote_prefill":true}}']
)
def test_without_a_handoff_that_can_be_used_the_decode_worker_gets_none(run: Run, body: bytes) -> None:
    async def test(bench: Bench) -> None:
        async with pair([answers(200, body=body)], [first(close_at_once, well), well]) as two:
            two.serve(bench)
            assert (await bench.answer(BODY)).body == b"well"
            assert [asked.body for worker in two.decode for asked in worker.asked] == [BODY, BODY]
            # Nothing was handed over, so nothing has to be handed over again.
            assert len(two.prefill[0].asked) == 1
            assert bench.accounting.disaggregated == {"recomputed": 1}

    run(test)


@pytest.mark.parametrize("status", [503, 429])
def test_when_no_prefill_worker_takes_it_a_decode_worker_does_it_all(run: Run, status: int) -> None:
    async def test(bench: Bench) -> None:
        async with pair([answers(status)] * 2, [well]) as two:
            two.serve(bench)
            assert (await bench.answer(BODY)).body == b"well"
            assert two.decode[0].asked[0].body == BODY
            assert bench.accounting.disaggregated == {"one-worker": 1}

    run(test)


@pytest.mark.parametrize("is_prefill", [True, False])
def test_a_half_that_can_not_be_reached_costs_few_attempts(run: Run, is_prefill: bool) -> None:
    """The retry budget is enough for as long as it takes until it is known to be down."""

    async def test(bench: Bench) -> None:
        async with pair([well], []) as two:
            with refusing_port() as port:
                refusing = [f"http://127.0.0.1:{port}"] * 2
                alive = [two.prefill[0].url]
                two.serve_urls(bench, *((refusing, alive) if is_prefill else (alive, refusing)))
                for _ in range(30):
                    assert (await bench.answer(BODY)).body == b"well"
            assert bench.accounting.retries.total() < 5

    run(test)


def test_without_the_fallback_the_prefill_workers_answer_is_passed_on(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([answers(503, b"retry-after: 9\r\n")] * 2, [well]) as two:
            bench.configure(pd_fallback=False)
            two.serve(bench)
            assert (await bench.answer(BODY)).status == 503
            assert not two.decode[0].asked

    run(test)


@pytest.mark.parametrize("is_refusing", [True, False])
def test_when_no_prefill_worker_is_there_a_decode_worker_does_it_all(run: Run, is_refusing: bool) -> None:
    async def test(bench: Bench) -> None:
        async with pair([], [well]) as two:
            with refusing_port() as port:
                prefill = [f"http://127.0.0.1:{port}"] if is_refusing else []
                two.serve_urls(bench, prefill, [two.decode[0].url])
                assert (await bench.answer(BODY)).body == b"well"
            assert two.decode[0].asked[0].body == BODY
            record = bench.forwarder.receipts.find(b"mine")
            assert record is not None
            last = receipt(record, plane="0", arrived=0.0).attempts[-1]
            assert last.note.startswith("one worker does it all: no pair is ")

    run(test)


def test_when_no_decode_worker_is_there_a_prefill_worker_does_it_all_unless_it_must_not(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([well], []) as two:
            two.serve(bench)
            assert (await bench.answer(BODY)).body == b"well"
            assert two.prefill[0].asked[0].body == BODY
            bench.configure(pd_fallback=False)
            transaction = await bench.answer(BODY)
            assert error_of(transaction)["code"] == "no_worker_available"
            assert "No decode worker is ready" in error_of(transaction)["message"]

    run(test)


async def endless(asked: Asked) -> None:
    await asked.begin()
    while True:
        await asked.chunk(b"x" * 10_000)


@pytest.mark.parametrize("script", [half_a_small_answer, endless])
def test_an_answer_to_the_prompt_that_breaks_off_or_never_ends_is_an_error(
    run: Run, monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    monkeypatch.setattr(collector, "MOST", 100_000)

    async def test(bench: Bench) -> None:
        async with pair([script], [well]) as two:
            two.serve(bench)
            transaction = await bench.answer(BODY)
            assert (transaction.status, error_of(transaction)["code"]) == (502, "bad_worker_answer")
            await until(lambda: not two.prefill[0].open)
            assert not two.decode[0].asked

    run(test)


@pytest.mark.parametrize(
    ("prefill", "decode"),
    [([close_at_once] * 3, [well]), ([hands_over], [close_at_once] * 3)],
    ids=["prefill", "decode"],
)
@pytest.mark.parametrize(("at_once", "status"), [(60.0, 503), (-1.0, 502)], ids=["at once", "held"])
def test_a_prompt_that_ends_engines_ends_two_at_most(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    prefill: list[Script],
    decode: list[Script],
    at_once: float,
    status: int,
) -> None:
    monkeypatch.setattr(exchange, "AT_ONCE", at_once)

    async def test(bench: Bench) -> None:
        async with pair(prefill, decode) as two:
            two.serve(bench)
            assert (await bench.answer(BODY)).status == status
            record = bench.forwarder.receipts.find(b"mine")
            assert record is not None
            assert sum(bool(one.failed) for one in record.tries) == 2

    run(test)


@pytest.mark.parametrize("at_once", [60.0, -1.0], ids=["at once", "held"])
def test_a_prompt_that_ends_engines_does_not_go_through_both_pools(
    run: Run, monkeypatch: pytest.MonkeyPatch, at_once: float
) -> None:
    monkeypatch.setattr(exchange, "AT_ONCE", at_once)

    async def test(bench: Bench) -> None:
        async with pair([first(close_at_once, hands_over)] * 3, [close_at_once] * 3) as two:
            two.serve(bench)
            assert (await bench.answer(BODY)).status in (502, 503)
            record = bench.forwarder.receipts.find(b"mine")
            assert record is not None
            assert sum(bool(one.failed) for one in record.tries) == 2

    run(test)


@pytest.mark.parametrize(
    ("prefill", "decode", "asked"),
    [([close_at_once, hands_over], [well], [1, 1, 1]), ([hands_over], [close_at_once, well], [2, 1, 1])],
    ids=["prefill", "decode"],
)
@pytest.mark.parametrize("fallback", [False, True])
def test_g_pd_2_a_worker_that_dies_with_a_request_it_has_had_for_long_is_replaced(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    prefill: list[Script],
    decode: list[Script],
    asked: list[int],
    *,
    fallback: bool,
) -> None:
    monkeypatch.setattr(exchange, "AT_ONCE", -1.0)

    async def test(bench: Bench) -> None:
        bench.configure(pd_fallback=fallback)
        async with pair(prefill, decode) as two:
            two.serve(bench)
            transaction = await bench.answer(BODY)
            assert (transaction.status, transaction.body) == (200, b"well")
            assert [len(worker.asked) for worker in (*two.prefill, *two.decode)] == asked
            assert bench.accounting.retries == {"closed-after-a-while": 1}

    run(test)


def test_g_pd_2_the_death_of_the_only_prefill_worker_with_a_request_leaves_a_decode_worker_to_do_it_all(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "AT_ONCE", -1.0)

    async def test(bench: Bench) -> None:
        bench.configure(pd_fallback=True)
        async with pair([close_at_once], [well]) as two:
            two.serve(bench)
            assert (await bench.answer(BODY)).body == b"well"
            assert [len(worker.asked) for worker in (*two.prefill, *two.decode)] == [1, 1]

    run(test)


def test_the_only_prefill_worker_gets_a_request_twice_that_it_dies_with(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "AT_ONCE", -1.0)

    async def test(bench: Bench) -> None:
        bench.configure(pd_fallback=False)
        async with pair([close_at_once], [well]) as two:
            two.serve(bench)
            transaction = await bench.answer(BODY)
            assert (transaction.status, error_of(transaction)["code"]) == (502, "bad_worker_answer")
            assert [len(worker.asked) for worker in (*two.prefill, *two.decode)] == [2, 0]

    run(test)


def test_a_prefill_worker_that_says_nothing_is_given_up(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hang], [well]) as two:
            bench.configure(prefill_timeout=1.0)
            two.serve(bench)
            transaction = bench.ask(BODY)
            await until(lambda: bool(two.prefill[0].asked))
            (request,) = bench.forwarder._requests
            now = bench.forwarder.loop.time()
            request.check(now)
            request.check(now + 1.5)
            await bench.ended(transaction)
            assert (transaction.status, error_of(transaction)["code"]) == (504, "worker_stalled")
            assert "--prefill-timeout-secs" in error_of(transaction)["message"]
            await until(lambda: not two.prefill[0].open)

    run(test)


# --- decode ----------------------------------------------------------------------------------------------


async def busy_in_the_stream(asked: Asked) -> None:
    await asked.begin()
    await asked.chunk(b'data: {"error":{"message":"m","code":503}}\n\n')
    await asked.end()


@pytest.mark.parametrize("script", [answers(503), close_at_once, busy_in_the_stream])
def test_a_decode_that_is_not_taken_begins_with_another_prefill(run: Run, script: Script) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [script, well]) as two:
            two.serve(bench)
            assert (await bench.answer(BODY)).body == b"well"
            assert [len(worker.asked) for worker in (*two.prefill, *two.decode)] == [2, 1, 1]
            assert None not in two.handoffs()
            assert bench.accounting.retries.total() == 1

    run(test)


def test_a_handoff_that_was_not_sent_goes_to_another_decode_worker(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [well]) as two:
            with refusing_port() as port:
                two.serve_urls(bench, [two.prefill[0].url], [f"http://127.0.0.1:{port}", two.decode[0].url])
                assert (await bench.answer(BODY)).body == b"well"
            assert len(two.prefill[0].asked) == 1

    run(test)


def test_nor_does_one_that_was_renewed_have_to_be_again(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [answers(503), well]) as two:
            with refusing_port() as port:
                busy, good = two.decode
                two.serve_urls(bench, [two.prefill[0].url], [busy.url, good.url, f"http://127.0.0.1:{port}"])
                assert (await bench.answer(BODY)).body == b"well"
            assert len(two.prefill[0].asked) == 2
            assert bench.accounting.retries == {"status-503": 1, "connect-failed": 1}

    run(test)


def test_each_decode_has_its_own_time(run: Run) -> None:
    async def test(bench: Bench) -> None:
        go = asyncio.Event()

        async def busy_later(asked: Asked) -> None:
            await go.wait()
            await asked.answer(status=503)

        async with pair([hands_over], [busy_later, hang]) as two:
            two.serve(bench)
            transaction = bench.ask(BODY)
            await until(lambda: bool(two.decode[0].asked))
            (request,) = bench.forwarder._requests
            before = request._place()
            go.set()
            await until(lambda: bool(two.decode[1].asked))
            assert request._place() != before
            await until(lambda: transaction.listening)
            transaction.leave()
            await until(lambda: not two.decode[1].open)

    run(test)


def test_a_kept_connection_that_was_closed_may_have_taken_the_handoff(run: Run) -> None:
    async def answer_then_close(asked: Asked) -> None:
        if asked.number == 1:
            await asked.answer(b"well")
        else:
            await asked.close()

    async def test(bench: Bench) -> None:
        async with pair([hands_over], [answer_then_close]) as two:
            two.serve(bench)
            assert (await bench.answer(BODY)).body == b"well"
            assert (await bench.answer(BODY)).body == b"well"
            assert (len(two.prefill[0].asked), len(two.decode[0].asked)) == (3, 3)
            assert bench.accounting.retries == {"closed-before-answer": 1}

    run(test)


def test_one_decode_worker_that_is_busy_for_a_moment_gets_another_handoff(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.configure(pd_fallback=False, retry_initial_backoff=0.001)
        async with pair([hands_over], [first(answers(503), answers(503), well)]) as two:
            two.serve(bench)
            assert (await bench.answer(BODY)).body == b"well"
            assert (len(two.prefill[0].asked), len(two.decode[0].asked)) == (3, 3)

    run(test)


def test_the_next_prefill_may_fail_too(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([first(hands_over, answers(400, body=b"why"))], [answers(503), well]) as two:
            two.serve(bench)
            transaction = await bench.answer(BODY)
            assert (transaction.status, transaction.body) == (400, b"why")

    run(test)


def test_attempts_are_bounded_over_both_legs(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.configure(pd_fallback=False, retry_initial_backoff=0.001, max_attempts=4)
        async with pair([hands_over] * 2, [answers(503)] * 2) as two:
            two.serve(bench)
            assert (await bench.answer(BODY)).status == 503
            assert sum(len(worker.asked) for worker in two.decode) == 4
            assert sum(len(worker.asked) for worker in two.prefill) == 4

    run(test)


@pytest.mark.parametrize("status", [400, 502])
def test_an_error_of_the_decode_worker_is_the_answer(run: Run, status: int) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [answers(status), well]) as two:
            two.serve(bench)
            assert (await bench.answer(BODY)).status == status
            assert len(two.prefill[0].asked) == 1

    run(test)


def test_a_kv_cache_that_could_not_be_fetched_is_made_again_but_not_for_ever(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [answers(500), well]) as two:
            two.serve(bench)
            assert (await bench.answer(BODY)).body == b"well"
            assert (len(two.prefill[0].asked), len(two.decode[0].asked)) == (2, 1)
        async with pair([hands_over], [answers(500)] * 4) as two:
            two.serve(bench)
            bench.serve_workers(*(msgspec.structs.replace(one, epoch=2) for one in bench._workers))
            assert (await bench.answer(BODY)).status == 500
            assert sum(len(worker.asked) for worker in two.decode) == 3
        async with pair([answers(200, body=b"{}")], [answers(500)] * 4) as two:
            two.serve(bench)
            bench.serve_workers(*(msgspec.structs.replace(one, epoch=3) for one in bench._workers))
            assert (await bench.answer(BODY)).status == 500
            assert sum(len(worker.asked) for worker in two.decode) == 1

    run(test)


def test_an_answer_that_breaks_off_is_visibly_broken_and_not_begun_again(run: Run) -> None:
    async def breaks(asked: Asked) -> None:
        await asked.begin()
        await asked.chunk(b"data: first\n\n")
        await asked.close()

    async def test(bench: Bench) -> None:
        async with pair([hands_over], [breaks, well]) as two:
            two.serve(bench)
            transaction = await bench.answer(BODY)
            assert not transaction.whole
            assert b"bad_worker_answer" in transaction.body
            assert len(two.prefill[0].asked) == 1

    run(test)


# --- the client ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefill", "decode", "open_at"),
    [(hang, well, "prefill"), (hands_over, hang, "decode"), (hands_over, begin_and_hang, "decode")],
)
def test_the_clients_leaving_closes_the_open_leg(run: Run, prefill: Script, decode: Script, open_at: str) -> None:
    async def test(bench: Bench) -> None:
        async with pair([prefill], [decode]) as two:
            two.serve(bench)
            worker: ScriptedWorker = getattr(two, open_at)[0]
            transaction = bench.ask(BODY)
            await until(lambda: bool(worker.asked))
            await until(lambda: transaction.listening)
            transaction.leave()
            await until(lambda: not worker.open)
            assert bench.accounting.aborted == {"client": 1}

    run(test)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", b'{"model":"m","prompt":["x","y"]}'),
        ("/v1/completions", b'{"model":"m","prompt":"x","n":2}'),
        ("/v1/embeddings", b'{"model":"m","input":"x"}'),
        ("/tokenize", b'{"model":"m","prompt":"x"}'),
    ],
)
def test_what_is_not_for_two_goes_to_a_decode_worker_as_it_is(run: Run, path: str, body: bytes) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [well]) as two:
            two.serve(bench)
            assert (await bench.answer(body, path=path)).body == b"well"
            assert [asked.body for asked in two.decode[0].asked] == [body]

    run(test)


def test_a_clients_own_orders_are_taken_out_before(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [well]) as two:
            two.serve(bench)
            await bench.answer(b'{"kv_transfer_params":{"do_remote_prefill":true},"prompt":"x","model":"m"}')
            assert two.decode[0].asked[0].body.endswith(b',"prompt":"x","model":"m"}')
            assert None not in two.handoffs()

    run(test)


@pytest.mark.parametrize(
    ("prefill", "decode"),
    [
        (hands_over, [well]),
        (hands_over, [answers(503), well]),
        (answers(400), [well]),
        (answers(503), [well]),
        (close_at_once, [close_at_once]),
    ],
)
def test_nothing_waits_for_the_garbage_collector(run: Run, prefill: Script, decode: list[Script]) -> None:
    async def test(bench: Bench) -> None:
        async with pair([prefill], decode) as two:
            two.serve(bench)
            gc.collect()
            gc.disable()
            try:
                await bench.answer(BODY)
                await asyncio.sleep(0)
                objects = gc.get_objects()
                # Each type is looked at once: an abstract one takes its time to say of an object whether it is its.
                types = {type(one) for one in objects}
                ours = {one for one in types if issubclass(one, Disaggregated | Attempts | Exchange | Collector)}
                left = [one for one in objects if type(one) in ours]
                assert left == []
            finally:
                gc.enable()

    run(test)


def test_a_prompt_counts_at_the_prefill_worker_only(run: Run) -> None:
    """A decode worker gets it computed: what it has to do does not depend on the prompt."""

    async def test(bench: Bench) -> None:
        bench.configure(policy="cache_aware")
        go = asyncio.Event()

        async def waits(asked: Asked) -> None:
            await go.wait()
            await hands_over(asked)

        async with pair([waits], [hang]) as two:
            two.serve(bench)
            asked = bench.ask(BODY)
            await until(lambda: bool(two.prefill[0].asked))
            assert bench.fleet.prefill() == {"p0": 1}
            go.set()
            await until(lambda: bool(two.decode[0].asked))
            assert bench.fleet.prefill() == {}
            asked.leave()
            await bench.ended(asked)

    run(test)
