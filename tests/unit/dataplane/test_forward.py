"""The path of a request that goes well, that the router refuses, or whose worker leaves the table under way."""

from __future__ import annotations

import asyncio
import json

import pytest

from shared.table import ModelCard, Worker, WorkerState, make_table
from tests.unit.dataplane.forward_bench import (
    BODY,
    Bench,
    Run,
    error_of,
    stream,
    well,
    workers,
)
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.scripted_worker import Asked


def test_a_small_answer_is_passed_on_whole(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.serve(worker.url)
            transaction = await bench.answer(headers=[(b"connection", b"close"), (b"a", b"1")], query=b"q=1")
            assert (transaction.status, transaction.body, transaction.whole) == (200, b"well", True)
            assert transaction.header(b"x-worker") == b"1"
            assert transaction.header(b"x-request-id") == b"mine"
            (asked,) = worker.asked
            assert asked.line == b"POST /v1/completions?q=1 HTTP/1.1"
            assert asked.body == BODY
            assert asked.fields == [
                (b"host", worker.url.removeprefix("http://").encode()),
                (b"endpoint-load-metrics-format", b"TEXT"),
                (b"a", b"1"),
                (b"x-request-id", b"mine"),
                (b"content-length", b"%d" % len(BODY)),
            ]
            assert bench.accounting.requests == {("/v1/completions", "POST", "m", 200, ""): 1}
            assert bench.accounting.worker_requests == {"a": 1}
            assert not bench.evidence

    run(test)


@pytest.mark.parametrize("status", [200, 204, 304, 400, 404, 422, 500, 501, 502, 504])
def test_a_workers_answer_is_the_answer_whatever_its_status(run: Run, status: int) -> None:
    async def script(asked: Asked) -> None:
        await asked.answer(b"" if status in (204, 304) else b"x", status=status)

    async def test(bench: Bench) -> None:
        async with workers(script, script) as started:
            bench.serve(*(worker.url for worker in started))
            transaction = await bench.answer()
            assert transaction.status == status
            assert bench.accounting.finished == 1
            assert sum(len(worker.asked) for worker in started) == 1
            assert bench.evidence == ([("a", 7, "error-status")] if status in (500, 502, 504) else [])

    run(test)


def test_chunks_are_passed_on_one_by_one_as_they_come(run: Run) -> None:
    gate = asyncio.Event()

    async def script(asked: Asked) -> None:
        await asked.begin()
        await asked.chunk(b"data: 1\n\n")
        await gate.wait()
        await asked.write(b"9\r\ndata: 2\n\n\r\n9\r\ndata: 3\n\n\r\n0\r\n\r\n")

    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            await until(lambda: len(transaction.sent) == 2)
            assert transaction.body == b"data: 1\n\n"
            gate.set()
            await bench.ended(transaction)
            assert transaction.parts == [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n", b""]
            assert transaction.whole
            assert transaction.header(b"content-type") == b"text/event-stream"
            assert transaction.header(b"transfer-encoding") is None

    run(test)


def test_a_connection_is_used_again(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(stream) as (worker,):
            bench.serve(worker.url)
            for number in range(5):
                worker.script = well if number % 2 else stream
                assert (await bench.answer()).whole
            assert worker.connections == 1
            assert [asked.number for asked in worker.asked] == [1, 2, 3, 4, 5]
            assert bench.accounting.connections_opened == {"a": 1}

    run(test)


def test_a_large_answer_of_known_length_is_not_held(run: Run) -> None:
    body = bytes(range(256)) * 4000
    gate = asyncio.Event()

    async def script(asked: Asked) -> None:
        await asked.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body[:1000])
        await gate.wait()
        await asked.write(body[1000:])

    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            await until(lambda: len(transaction.sent) > 1)
            gate.set()
            await bench.ended(transaction)
            assert transaction.body == body
            assert transaction.whole

    run(test)


def test_a_body_that_only_the_close_ends(run: Run) -> None:
    async def script(asked: Asked) -> None:
        await asked.write(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        await asked.close()

    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            transaction = await bench.answer()
            assert (transaction.body, transaction.whole) == (b"all of it", True)

    run(test)


def test_head_gets_no_body_and_keeps_its_length(run: Run) -> None:
    async def script(asked: Asked) -> None:
        await asked.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")

    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            for _ in range(2):
                transaction = await bench.answer(b"", method="HEAD")
                assert (transaction.status, transaction.body, transaction.whole) == (200, b"", True)
                assert transaction.header(b"content-length") == b"5"
            assert worker.connections == 1
            assert worker.asked[0].field(b"content-length") is None

    run(test)


def test_many_at_once_get_each_its_own_answer(run: Run) -> None:
    async def echo(asked: Asked) -> None:
        await asked.answer(asked.body)

    async def test(bench: Bench) -> None:
        async with workers(echo, echo) as started:
            bench.serve(*(worker.url for worker in started))
            bodies = [b'{"model":"m","n":%d}' % number for number in range(60)]
            transactions = [bench.ask(body) for body in bodies]
            for body, transaction in zip(bodies, transactions, strict=True):
                assert (await bench.ended(transaction)).body == body
            assert [len(worker.asked) for worker in started] == [30, 30]

    run(test)


# --- refused by the router -------------------------------------------------------------------------------


def test_a_declared_body_over_the_limit(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.configure(max_payload_size=10)
            bench.serve(worker.url)
            transaction = await bench.answer(b"x" * 11)
            assert transaction.status == 413
            assert transaction.header(b"connection") == b"close"
            asking_first = await bench.answer(b"x" * 11, headers=[(b"expect", b"100-continue")])
            assert asking_first.status == 413
            assert asking_first.receives == 0
            assert not worker.asked
            assert (await bench.answer(b"x" * 10)).status == 200

    run(test)


def test_an_undeclared_body_over_the_limit(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.configure(max_payload_size=10)
            bench.serve(worker.url)
            transaction = bench.ask(None)
            transaction.give(b"x" * 10, more=True)
            transaction.give(b"x", more=True)
            await until(lambda: transaction.whole)
            assert transaction.status == 413
            transaction.give(b"x" * 100, more=True)
            transaction.give(b"x")
            await bench.ended(transaction)
            assert bench.accounting.rejected == {"payload_too_large": 1}
            assert not worker.asked

    run(test)


@pytest.mark.parametrize(
    ("workers_there", "state", "model", "status", "text"),
    [
        (False, "ready", "m", 503, "No workers are configured"),
        (True, "unhealthy", "m", 503, "No worker is ready."),
        (True, "unhealthy", "x", 503, "No worker is ready."),
        (True, "ready", "x", 404, "The model `x` does not exist. Models served here: m."),
    ],
)
def test_a_request_for_which_there_is_nobody(
    run: Run, workers_there: bool, state: WorkerState, model: str, status: int, text: str
) -> None:
    async def test(bench: Bench) -> None:
        bench.serve(*["http://127.0.0.1:1"][: int(workers_there)], state=state)
        transaction = await bench.answer(json.dumps({"model": model}).encode())
        assert transaction.status == status
        assert text in error_of(transaction)["message"]
        assert transaction.header(b"x-request-id") == b"mine"
        assert not bench.evidence

    run(test)


def test_a_known_model_that_nobody_ready_serves(run: Run) -> None:
    async def test(bench: Bench) -> None:
        ready = Worker(id="a", url="http://127.0.0.1:1", state="ready", models=("m",))
        down = Worker(id="b", url="http://127.0.0.1:1", state="unhealthy", models=("n",))
        cards = [ModelCard(id=name, card=b"{}") for name in "mn"]
        bench.fleet.adopt(make_table(epoch=1, version=1, workers=[ready, down], models=cards))
        transaction = await bench.answer(b'{"model":"n"}')
        assert transaction.status == 503
        assert "No worker that serves `n` is ready." in error_of(transaction)["message"]

    run(test)


@pytest.mark.parametrize("body", [b'{"model":"\xff"}', b"{" * 9, b"\x00"])
def test_a_body_that_the_router_can_not_read_is_the_workers_business(run: Run, body: bytes) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.serve(worker.url)
            transaction = await bench.answer(body)
            assert transaction.status == 200
            assert worker.asked[0].body == body

    run(test)


def test_a_fault_of_our_own_is_a_500_and_leaks_nothing(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def test(bench: Bench) -> None:
        bench.serve("http://127.0.0.1:1")

        def fail(*_: object) -> object:
            raise ZeroDivisionError

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(bench.fleet.view.policy, "pick", fail)
            transaction = await bench.answer()
        assert transaction.status == 500
        assert error_of(transaction)["code"] == "internal_error"
        assert "mine" in caplog.text
        assert "ZeroDivisionError" in caplog.text

    run(test)


# --- the table changes under way -------------------------------------------------------------------------


def test_a_request_outlives_its_worker_in_the_table(run: Run) -> None:
    gate = asyncio.Event()

    async def script(asked: Asked) -> None:
        await asked.begin()
        await gate.wait()
        await asked.chunk(b"data: x\n\n")
        await asked.end()

    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            await until(lambda: bool(worker.asked))
            bench.serve()
            bench.fleet.reap()
            gate.set()
            await bench.ended(transaction)
            assert transaction.whole
            # The connection is not kept for a worker that has left.
            await until(lambda: worker.open == 0)
            assert bench.idle() == 0

    run(test)


def test_another_attempt_goes_by_the_newest_table(run: Run) -> None:
    gate = asyncio.Event()

    async def script(asked: Asked) -> None:
        await gate.wait()
        await asked.close()

    async def test(bench: Bench) -> None:
        async with workers(script, well) as (bad, good):
            bench.serve(bad.url)
            transaction = bench.ask()
            await until(lambda: bool(bad.asked))
            bench.serve(bad.url, good.url)
            gate.set()
            await bench.ended(transaction)
            assert transaction.body == b"well"

    run(test)
