"""What one request adds to the plane's figures."""

from __future__ import annotations

import asyncio

import pytest

from dataplane.client_keys import Holder
from shared import catalog
from shared.client_keys import ClientKey
from shared.plane_report import HistogramSeries
from tests.unit.dataplane.forward_bench import Bench, Run, begin_and_hang, close_at_once, hang, stream, well, workers
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.scripted_worker import Asked, Script

USAGE = b'"usage":{"prompt_tokens":13,"total_tokens":17,"completion_tokens":4}'


def series_of(bench: Bench, metric: catalog.Metric) -> HistogramSeries | None:
    return next((one for one in bench.accounting.histogram_series() if one.name == metric.name), None)


async def whole_with_usage(asked: Asked) -> None:
    await asked.answer(b'{"choices":[],' + USAGE + b"}")


async def stream_with_usage(asked: Asked) -> None:
    await asked.begin()
    await asked.chunk(b'data: {"choices":[1]}\n\n')
    await asyncio.sleep(0.06)
    await asked.chunk(b'data: {"choices":[2]}\n\n')
    await asked.chunk(b'data: {"choices":[],' + USAGE + b"}\n\n")
    await asked.chunk(b"data: [DONE]\n\n")
    await asked.end()


@pytest.mark.parametrize("script", [whole_with_usage, stream_with_usage])
def test_tokens_are_read_from_the_answers_end(run: Run, script: Script) -> None:
    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            await bench.answer()
            accounting = bench.accounting
            assert (accounting.prompt_tokens, accounting.output_tokens) == ({"m": 13}, {"m": 4})

    run(test)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("POST", "/v1/completions/derender"),
        ("GET", "/a/path/of/the/workers"),
    ],
)
def test_an_answer_that_repeats_what_another_request_took_counts_no_tokens(run: Run, method: str, path: str) -> None:
    async def test(bench: Bench) -> None:
        async with workers(whole_with_usage) as (worker,):
            bench.serve(worker.url)
            bench.accounting.know_keys(["alice"])
            alice = Holder(ClientKey(name="alice", digest=b""))
            made = await bench.answer(path="/v1/responses", key=alice)
            told = await bench.answer(b"", method=method, path=path, key=alice)
            assert (made.status, told.status) == (200, 200)
            accounting = bench.accounting
            assert sum(accounting.usage_told.values()) == 1
            assert sum(accounting.output_tokens.values()) == sum(accounting.key_output_tokens.values()) == 4
            assert sum(accounting.prompt_tokens.values()) == sum(accounting.key_prompt_tokens.values()) == 13
            assert accounting.key_requests == {("alice", "200"): 2}

    run(test)


def test_a_stream_tells_its_first_token_its_gaps_and_its_longest_pause(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(stream_with_usage) as (worker,):
            bench.serve(worker.url)
            await bench.answer()
            for metric, count in ((catalog.FIRST_TOKEN, 1), (catalog.TOKEN_GAP, 3), (catalog.STREAM_PAUSE, 1)):
                told = series_of(bench, metric)
                assert told is not None
                assert (told.labels, sum(told.counts)) == (("m",), count)
            pause = series_of(bench, catalog.STREAM_PAUSE)
            assert pause is not None
            assert pause.sum > 0.05

    run(test)


def test_an_answer_that_is_no_stream_has_no_token_times(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.serve(worker.url)
            await bench.answer()
            assert series_of(bench, catalog.FIRST_TOKEN) is None
            assert not bench.accounting.usage_told

    run(test)


@pytest.mark.parametrize(("script", "in_parts"), [(well, False), (stream, True)])
def test_a_workers_times_and_its_connection_are_counted(run: Run, script: Script, *, in_parts: bool) -> None:
    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            await bench.answer()
            await bench.answer()
            duration, connect = series_of(bench, catalog.WORKER_DURATION), series_of(bench, catalog.CONNECT)
            assert duration is not None
            assert connect is not None
            assert (duration.labels, duration.counts, sum(connect.counts)) == (("a",), (2,), 1)
            assert (series_of(bench, catalog.WORKER_FIRST_BYTE) is not None) == in_parts
            # The time at workers is a part of the time from the requests' arrival.
            (seconds,) = bench.accounting.worker_seconds.values()
            latency = series_of(bench, catalog.LATENCY)
            assert latency is not None
            assert 0 <= seconds <= latency.sum

    run(test)


def test_what_fails_names_its_worker_and_what_was_used_up(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(close_at_once, close_at_once) as (one, other):
            bench.configure(max_attempts=1)
            bench.serve(one.url, other.url)
            await bench.answer(b"", method="GET")
            assert sum(bench.accounting.worker_failures.values()) == 1
            assert {kind for _, kind in bench.accounting.worker_failures} == {"closed-before-answer"}
            assert bench.accounting.retries_denied == {"attempts": 1}

    run(test)


@pytest.mark.parametrize(("script", "phase", "status"), [(hang, "waiting", 0), (begin_and_hang, "answering", 200)])
def test_an_abort_tells_its_phase(run: Run, script: Script, phase: str, status: int) -> None:
    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            await until(lambda: bool(worker.asked) and (bool(transaction.body) or not status))
            transaction.leave()
            await bench.ended(transaction)
            assert bench.accounting.aborted_in == {("client", phase): 1}
            assert bench.accounting.requests == {("/v1/completions", "POST", "m", status, "client_left"): 1}

    run(test)
