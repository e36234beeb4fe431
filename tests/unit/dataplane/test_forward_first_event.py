"""Streams that begin with an engine's error, and bodies that would harm an engine."""

from __future__ import annotations

import json

import pytest

from tests.unit.dataplane.forward_bench import Bench, Run, well, workers
from tests.unit.dataplane.scripted_worker import Asked, Script


def event(code: int) -> bytes:
    return b'{"error": {"message": "no", "type": "X", "param": null, "code": %d}}' % code


def fails_with(code: int) -> Script:
    async def script(asked: Asked) -> None:
        await asked.begin()
        await asked.chunk(b"data: %b\n\n" % event(code))
        await asked.chunk(b"data: [DONE]\n\n")
        await asked.end()

    return script


def test_g_retry_a_stream_that_begins_with_a_refusal_goes_to_another_worker(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(fails_with(503), well) as (bad, good):
            bench.serve(bad.url, good.url)
            transaction = await bench.answer()
            assert transaction.status == 200
            assert (len(bad.asked), len(good.asked)) == (1, 1)
            assert bench.accounting.retries == {"status-503": 1}

    run(test)


@pytest.mark.parametrize("code", [400, 500, 503])
def test_a_stream_that_begins_with_an_error_has_the_status_that_it_should_have_had(run: Run, code: int) -> None:
    async def test(bench: Bench) -> None:
        async with workers(fails_with(code)) as (bad,):
            bench.serve(bad.url)
            bench.configure(max_attempts=1)
            for _ in range(2):
                transaction = await bench.answer()
                assert transaction.status == code
                assert transaction.whole
                assert transaction.body == event(code)
                assert transaction.header(b"content-type") == b"application/json"
                assert transaction.header(b"content-length") == b"%d" % len(event(code))
                assert transaction.header(b"x-request-id") == b"mine"
            # What was left of the stream was read, and the connection used again.
            assert bad.connections == 1
            assert bench.accounting.finished == 2

    run(test)


def test_an_error_later_in_a_stream_is_the_clients(run: Run) -> None:
    async def script(asked: Asked) -> None:
        await asked.begin()
        await asked.chunk(b": keep-alive\n\n")
        await asked.chunk(b"data: %b\n\n" % event(503))
        await asked.end()

    async def test(bench: Bench) -> None:
        async with workers(script, well) as (bad, good):
            bench.serve(bad.url, good.url)
            transaction = await bench.answer()
            assert transaction.status == 200
            assert transaction.body == b": keep-alive\n\ndata: %b\n\n" % event(503)
            assert good.asked == []

    run(test)


BODY = b'{"model":"m", "kv_transfer_params": {"do_remote_prefill": true}, "prompt":"x"}'


def test_kv_transfer_params_of_a_client_never_reach_an_engine(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.serve(worker.url)
            assert (await bench.answer(BODY)).status == 200
            assert worker.asked[0].body == b'{"model":"m", "prompt":"x"}'
            assert worker.asked[0].field(b"content-length") == b"27"
            assert bench.accounting.spliced == {"kv_transfer_params": 1}

    run(test)


def test_kv_transfer_params_pass_where_the_operator_trusts_clients(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.serve(worker.url)
            bench.configure(trust_kv_transfer_params=True)
            assert (await bench.answer(BODY)).status == 200
            assert worker.asked[0].body == BODY
            assert not bench.accounting.spliced

    run(test)


def test_a_large_body_that_can_not_be_looked_into_is_refused(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.serve(worker.url)
            transaction = await bench.answer(b'{"model":"m","x":NaN' + b" " * (1 << 20) + b"}")
            assert transaction.status == 400
            assert json.loads(transaction.body)["error"]["code"] == "unreadable_body"
            assert worker.asked == []

    run(test)
