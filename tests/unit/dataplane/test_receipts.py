"""What a plane remembers of its requests: what it holds, and how it is bounded."""

from __future__ import annotations

import gc
from collections.abc import Sequence

from dataplane.policies.base import C, RequestView, Why
from dataplane.policies.round_robin import RoundRobin
from dataplane.receipt_writing import receipt
from dataplane.receipts import DETAILED_PER_SECOND, MAX_LISTED, MAX_TEXT, VIEWS, Receipts
from shared.receipt import Receipt
from shared.table import Breaker, Worker
from tests.unit.dataplane.forward_bench import Bench, Run, hang, well, workers
from tests.unit.dataplane.listening import refusing_port, until
from tests.unit.dataplane.scripted_worker import Asked


async def busy(asked: Asked) -> None:
    await asked.answer(b"not now", status=503)


class Failing(RoundRobin):
    """A policy with a fault in it."""

    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        raise ValueError("no idea")


def told(bench: Bench, request: bytes = b"mine") -> Receipt:
    record = bench.forwarder.receipts.find(request)
    assert record is not None
    return receipt(record, plane="gpu-b/3", arrived=1000.0)


def test_an_answered_request(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well, well) as (one, other):
            bench.configure(policy="least_load")
            bench.serve(one.url, other.url)
            await bench.answer()
            found = told(bench)
            assert (found.request, found.plane, found.method, found.model) == ("mine", "gpu-b/3", "POST", "m")
            assert (found.outcome, found.status, found.policy) == ("answered", 200, "least_load")
            assert (found.epoch, found.version) == bench.fleet.view.table.stamp.order
            (attempt,) = found.attempts
            assert attempt.is_detailed
            assert {choice.worker for choice in attempt.choices} == {"a", "b"}
            assert attempt.choices[0].worker == attempt.worker
            assert attempt.choices[0].load is not None
            assert attempt.choices[0].load.in_flight == 0
            assert not attempt.failed
            assert not attempt.left_out
            assert found.first_byte is not None
            assert 0 <= attempt.began <= found.first_byte <= found.ended

    run(test)


def test_the_retry_after_a_stale_connection_is_no_attempt_of_its_own(run: Run) -> None:
    async def stale_once(asked: Asked) -> None:
        if asked.number == 1:
            await well(asked)
        else:
            await asked.close()

    async def test(bench: Bench) -> None:
        async with workers(stale_once) as (one,):
            bench.configure(explain=True)
            bench.serve(one.url)
            await bench.answer()
            transaction = await bench.answer()
            assert transaction.status == 200
            assert transaction.header(b"x-routerctl-attempts") == b"1"
            first, again = told(bench).attempts
            assert (first.is_again, first.failed) == (False, "closed a kept connection without an answer")
            assert (again.is_again, again.worker, again.failed) == (True, "a", "")

    run(test)


def test_every_attempt_and_why_it_failed(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well, busy) as (good, no):
            with refusing_port() as port:
                bench.configure(policy="round_robin")
                bench.serve(f"http://127.0.0.1:{port}", good.url, no.url)
                await bench.answer()
                found = told(bench)
                assert [attempt.worker for attempt in found.attempts] == ["a", "c", "b"]
                assert found.attempts[0].failed == "no connection (connection refused)"
                assert found.attempts[1].failed == "status 503"
                assert found.attempts[2].failed == ""
                left_out = {one.worker: one.reason for one in found.attempts[2].left_out}
                assert left_out == {"a": "was tried before", "c": "was tried before"}

    run(test)


def test_who_was_no_candidate_and_why(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (good,):
            url = good.url
            bench.serve_workers(
                Worker(id="good", url=url, state="ready", models=("m",)),
                Worker(id="too", url=url, state="ready", models=("m",)),
                Worker(id="sick", url=url, state="ejected", reason="12 of 20 failed", models=("m",)),
                Worker(id="new", url=url),
                Worker(id="spare", url=url, state="ready", models=("m",), priority=1),
                Worker(id="other", url=url, state="ready", models=("n",)),
                Worker(id="half", url=url, state="ready", models=("m",), role="prefill"),
                Worker(
                    id="broken",
                    url=url,
                    state="ready",
                    models=("m",),
                    breaker=Breaker(state="open", reason="failed 10 times"),
                ),
            )
            await bench.answer()
            (attempt,) = told(bench).attempts
            assert {one.worker: one.reason for one in attempt.left_out} == {
                "sick": "ejected: 12 of 20 failed",
                "new": "starting",
                "spare": "is behind others by its priority or weight",
                "other": "does not serve the model",
                "half": "is a prefill worker: those do whole requests last",
                "broken": "its breaker is open: failed 10 times",
            }

    run(test)


def test_one_that_could_not_be_reached_a_moment_ago(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (good,):
            with refusing_port() as port:
                bench.configure(policy="round_robin")
                bench.serve(f"http://127.0.0.1:{port}", good.url)
                await bench.answer()
                await bench.answer(headers=[(b"x-correlation-id", b"second")])
                (attempt,) = told(bench).attempts
                assert [(one.worker, one.reason) for one in attempt.left_out] == [
                    ("a", "could not be reached a moment ago, or begins with a small share (slow start)")
                ]

    run(test)


def test_a_request_that_found_no_worker(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.serve_workers(Worker(id="a", url="http://127.0.0.1:1", state="unhealthy", reason="status 500"))
        await bench.answer()
        found = told(bench)
        assert (found.outcome, found.status, found.attempts) == ("rejected no_worker_available", 503, ())
        assert [(one.worker, one.reason) for one in found.left_out] == [("a", "unhealthy: status 500")]

    run(test)


def test_a_request_that_failed_before_a_worker_was_chosen_blames_none(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.configure(policy="tests.unit.dataplane.test_receipts:Failing")
            bench.serve(worker.url)
            await bench.answer()
            found = told(bench)
            assert (found.outcome, found.status, found.attempts) == ("rejected internal_error", 500, ())
            assert found.left_out == ()

    run(test)


def test_a_client_that_left(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            transaction = bench.ask()
            await until(lambda: transaction.listening)
            transaction.leave()
            await bench.ended(transaction)
            found = told(bench)
            assert (found.outcome, found.status, found.first_byte) == ("aborted by client", 0, None)

    run(test)


def test_only_so_many_choices_a_second_are_written_down_in_detail(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.serve(worker.url)
            for _ in range(DETAILED_PER_SECOND):
                await bench.answer()
                assert told(bench).attempts[0].is_detailed
            await bench.answer()
            assert not told(bench).attempts[0].is_detailed
            assert told(bench).attempts[0].worker == "a"
            bench.forwarder.expire()
            await bench.answer()
            assert told(bench).attempts[0].is_detailed

    run(test)


def test_it_is_bounded(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.configure(receipts=8)
        bench.forwarder.expire()
        receipts: Receipts = bench.forwarder.receipts
        bench.serve_workers(*(Worker(id=f"w{number}", url="http://127.0.0.1:1") for number in range(MAX_LISTED + 5)))
        view = bench.fleet.view
        long = "x" * (MAX_TEXT + 1)
        for number in range(20):
            receipts.keep(b"%d" % number, long, long, long, (0.0, 0.0, 1.0), "answered", 200, view, ())
        assert receipts.find(b"11") is None
        assert receipts.find(b"12") is not None
        receipts.keep(long.encode(), "GET", "/", None, (0.0, 0.0, 1.0), "rejected no_worker_available", 503, view, ())
        found = told(bench, long.encode())
        assert len(found.request) == MAX_TEXT
        assert len(found.left_out) == MAX_LISTED
        # What went wrong is kept for longer than what went well.
        for _ in range(8):
            receipts.keep(b"good", "GET", "/", None, (0.0, 0.0, 1.0), "answered", 200, view, ())
        assert receipts.find(long.encode()) is not None
        bench.configure(receipts=0)
        bench.forwarder.expire()
        assert receipts.find(b"good") is None
        assert receipts.why() is None

    run(test)


def test_views_are_let_go(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.serve_workers(Worker(id="a", url="http://127.0.0.1:1"))
        await bench.answer()
        assert told(bench).left_out
        for _ in range(VIEWS):
            bench.configure()
            await bench.answer(headers=[(b"x-request-id", b"later")])
        gc.collect()
        record = bench.forwarder.receipts.find(b"mine")
        assert record is not None
        assert receipt(record, plane="0", arrived=0.0).outcome == "rejected no_worker_available"

    run(test)
