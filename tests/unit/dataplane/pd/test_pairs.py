"""Who is chosen for whom: what keeps two workers apart, what a receipt says of it, and what is left then."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from dataplane.pd.pair_breaker import FAILURES, FIRST_PAUSE
from dataplane.receipt_writing import receipt
from shared.messages import LoadReport, WorkerLoad
from shared.plane_report import MAX_OPEN_PAIRS, OpenPair, PairReport
from shared.table import Worker
from tests.unit.dataplane.forward_bench import Bench, Run, begin_and_hang, error_of, hang, stream, well
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.pd.two import BODY, Pair, answers, first, hands_over, pair
from tests.unit.dataplane.scripted_worker import Script

WHOLE = b'{"model":"m", "prompt":"x"}'


def change(bench: Bench, **workers: dict[str, Any]) -> None:
    bench.serve_workers(*(msgspec.structs.replace(one, **workers.get(one.id, {})) for one in bench._workers))


def left_out(bench: Bench) -> list[dict[str, str]]:
    """What the last request's receipt says of who was left out, for each attempt."""
    record = bench.forwarder.receipts.find(b"mine")
    assert record is not None
    told = receipt(record, plane="0", arrived=0.0)
    return [{one.worker: one.reason for one in attempt.left_out} for attempt in told.attempts]


def counts(two: Pair) -> tuple[list[int], list[int]]:
    return [len(one.asked) for one in two.prefill], [len(one.asked) for one in two.decode]


def test_only_workers_of_one_version_are_a_pair(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over] * 2, [well] * 2) as two:
            two.serve(bench)
            new = {"version": "0.32.0"}
            change(bench, p0={"version": "0.31.0"}, p1=new, d0=new, d1=new)
            for _ in range(4):
                assert (await bench.answer(BODY)).body == b"well"
            assert counts(two) == ([0, 4], [2, 2])
            prefill, _ = left_out(bench)
            assert prefill["p0"] == "p0 runs version 0.31.0, d0 runs 0.32.0"
            # What is not known is not held against it.
            change(bench, d0={"version": None})
            for _ in range(8):
                await bench.answer(BODY)
            assert counts(two)[0][0] > 0

    run(test)


@pytest.mark.parametrize("fallback", [True, False])
def test_where_nobody_fits_one_worker_does_it_all_or_it_is_said_why(run: Run, fallback: bool) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [well]) as two:
            bench.configure(pd_fallback=fallback)
            two.serve(bench)
            change(bench, p0={"version": "0.31.0"}, d0={"version": "0.32.0"})
            got = await bench.answer(WHOLE)
            assert not two.prefill[0].asked
            if fallback:
                assert (got.body, two.decode[0].asked[0].body) == (b"well", WHOLE)
                assert bench.accounting.disaggregated == {"one-worker": 1}
                record = bench.forwarder.receipts.find(b"mine")
                assert record is not None
                note = receipt(record, plane="0", arrived=0.0).attempts[-1].note
                assert note.startswith("one worker does it all: ")
                assert "p0 runs version 0.31.0, d0 runs 0.32.0" in note
                assert left_out(bench)[-1]["p0"] == "is a prefill worker: those do whole requests last"
            else:
                assert (got.status, error_of(got)["code"]) == (503, "no_worker_available")
                assert "p0 runs version 0.31.0, d0 runs 0.32.0" in error_of(got)["message"]

    run(test)


def test_a_decode_worker_without_room_is_left_out_while_there_are_others(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [begin_and_hang, well]) as two:
            two.serve(bench)
            seq = 0

            def tell(**kv_usage: float) -> None:
                nonlocal seq
                seq += 1
                loads = {worker: WorkerLoad(1.0, 0.0, usage, 0.0) for worker, usage in kv_usage.items()}
                bench.fleet.take_load(LoadReport(bench.fleet.view.table.stamp, seq, loads))

            busy = bench.ask(BODY)
            await until(lambda: bool(busy.body))
            tell(d0=0.97, d1=0.5)
            for _ in range(3):
                assert (await bench.answer(BODY)).body == b"well"
            assert counts(two)[1] == [1, 3]
            assert left_out(bench)[1]["d0"] == "its KV cache is nearly full"
            # One without a request only tells what it told last.
            busy.leave()
            await until(lambda: not two.decode[0].open)
            two.decode[0].script = well
            for _ in range(4):
                assert (await bench.answer(BODY)).body == b"well"
            assert counts(two)[1][0] > 1

    run(test)


def test_if_all_are_full_all_are_used(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [begin_and_hang]) as two:
            two.serve(bench)
            busy = bench.ask(BODY)
            await until(lambda: bool(busy.body))
            loads = {"d0": WorkerLoad(1.0, 0.0, 1.0, 0.0)}
            bench.fleet.take_load(LoadReport(bench.fleet.view.table.stamp, 1, loads))
            two.decode[0].script = well
            assert (await bench.answer(BODY)).body == b"well"
            busy.leave()
            await until(lambda: not bench.inflight())

    run(test)


# --- a pair's breaker ------------------------------------------------------------------------------------


async def open_pair(bench: Bench, two: Pair) -> None:
    """Have the only pair fail until it is left out."""
    two.decode[0].script = answers(500)
    while not bench.accounting.pair_breakers["opened"]:
        await bench.answer(BODY)
    assert sum(counts(two)[1]) >= FAILURES


def test_g_pd_2_three_failures_open_the_pair_and_not_the_worker(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.configure(pd_fallback=False)
        async with pair([hands_over], [well]) as two:
            two.serve(bench)
            await open_pair(bench, two)
            assert bench.evidence == []
            refused = await bench.answer(BODY)
            assert (refused.status, error_of(refused)["code"]) == (503, "no_worker_available")
            assert "the breaker of the pair p0, d0 is open" in error_of(refused)["message"]
            assert len(two.decode[0].asked) == FAILURES

    run(test)


def test_without_the_pair_both_workers_serve_whole_requests(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [well]) as two:
            two.serve(bench)
            # Failures that came before, in other requests.
            slots = {slot.id: slot for slot in bench._slots}
            for _ in range(FAILURES):
                bench.fleet.pairs.breakers.failed((slots["p0"], slots["d0"]), bench.forwarder.loop.time())
            assert (await bench.answer(WHOLE)).body == b"well"
            assert two.decode[0].asked[0].body == WHOLE
            assert not two.prefill[0].asked

    run(test)


@pytest.mark.parametrize(("script", "change"), [(well, "closed"), (answers(500), "opened")])
def test_an_open_pair_is_tried_once_after_a_while(run: Run, script: Script, change: str) -> None:
    async def test(bench: Bench) -> None:
        bench.configure(pd_fallback=False)
        async with pair([hands_over], [script]) as two:
            two.serve(bench)
            slots = {slot.id: slot for slot in bench._slots}
            long_ago = bench.forwarder.loop.time() - FIRST_PAUSE - 1
            for _ in range(FAILURES):
                bench.fleet.pairs.breakers.failed((slots["p0"], slots["d0"]), long_ago)
            await bench.answer(BODY)
            assert (bench.accounting.pair_breakers["tried"], bench.accounting.pair_breakers[change]) == (1, 1)
            assert len(two.decode[0].asked) == 1

    run(test)


def test_only_one_request_tries_an_open_pair_and_one_that_leaves_says_nothing(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.configure(pd_fallback=False)
        async with pair([hands_over], [hang]) as two:
            two.serve(bench)
            slots = {slot.id: slot for slot in bench._slots}
            long_ago = bench.forwarder.loop.time() - FIRST_PAUSE - 1
            for _ in range(FAILURES):
                bench.fleet.pairs.breakers.failed((slots["p0"], slots["d0"]), long_ago)
            trying = bench.ask(BODY)
            await until(lambda: bool(two.decode[0].asked))
            assert (await bench.answer(BODY)).status == 503
            await until(lambda: trying.listening)
            trying.leave()
            await until(lambda: not two.decode[0].open)
            two.decode[0].script = well
            assert (await bench.answer(BODY)).body == b"well"
            assert bench.accounting.pair_breakers == {"tried": 2, "closed": 1}

    run(test)


def test_a_worker_that_leaves_takes_its_pairs_along(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [well]) as two:
            two.serve(bench)
            slots = {slot.id: slot for slot in bench._slots}
            bench.fleet.pairs.breakers.failed((slots["p0"], slots["d0"]), bench.forwarder.loop.time())
            change(bench, d0={"epoch": 2})
            assert not bench.fleet.pairs.breakers

    run(test)


# --- a decode worker that says nothing ------------------------------------------------------------------


def stand_still(bench: Bench, seconds: float) -> None:
    """Have so much time pass for all open requests."""
    now = bench.forwarder.loop.time()
    for request in list(bench.forwarder._requests):
        request.check(now)
        request.check(now + seconds)


def test_a_stream_that_does_not_begin_is_begun_again_with_another_pair(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.configure(decode_first_byte_timeout=5.0)
        async with pair([hands_over], [hang, stream]) as two:
            two.serve(bench)
            transaction = bench.ask(BODY)
            await until(lambda: bool(two.decode[0].asked))
            stand_still(bench, 6.0)
            await bench.ended(transaction)
            assert (transaction.status, transaction.whole) == (200, True)
            assert bench.accounting.retries == {"decode-first-byte": 1}
            await until(lambda: not two.decode[0].open)
            # It answered nobody else meanwhile.
            assert bench.evidence == [("d0", 1, "stalled")]

    run(test)


def test_it_is_not_held_against_a_worker_that_answers_others(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.configure(decode_first_byte_timeout=5.0, pd_fallback=False)
        async with pair([hands_over] * 2, [first(hang, stream)]) as two:
            two.serve(bench)
            transaction = bench.ask(BODY)
            await until(lambda: bool(two.decode[0].asked))
            assert (await bench.answer(BODY)).whole
            stand_still(bench, 6.0)
            await bench.ended(transaction)
            assert (transaction.status, transaction.whole) == (200, True)
            assert bench.evidence == []
            # The one decode worker is asked again, for the other prefill worker.
            assert counts(two) == ([1, 2], [3])

    run(test)


def test_what_is_given_up_is_said(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.configure(decode_first_byte_timeout=5.0, max_attempts=1)
        async with pair([hands_over], [hang, well]) as two:
            two.serve(bench)
            transaction = bench.ask(BODY)
            await until(lambda: bool(two.decode[0].asked))
            stand_still(bench, 6.0)
            await bench.ended(transaction)
            assert (transaction.status, error_of(transaction)["code"]) == (504, "worker_stalled")
            assert "--decode-first-byte-timeout-secs" in error_of(transaction)["message"]

    run(test)


@pytest.mark.parametrize(
    ("per_token", "limit"), [(1000.0, {}), (0.0, {}), (1e-6, {"max_tokens": None}), (1e-6, {"max_tokens": 1 << 60})]
)
def test_an_answer_that_is_not_streamed_may_take_its_time(run: Run, per_token: float, limit: dict[str, Any]) -> None:
    async def test(bench: Bench) -> None:
        bench.configure(decode_first_byte_timeout=5.0, decode_token_timeout=per_token)
        async with pair([hands_over], [hang]) as two:
            two.serve(bench)
            transaction = bench.ask(json.dumps({**json.loads(BODY), "stream": False, **limit}).encode())
            await until(lambda: bool(two.decode[0].asked))
            stand_still(bench, 600.0)
            assert transaction.done_calls == 0
            await until(lambda: transaction.listening)
            transaction.leave()
            await until(lambda: not two.decode[0].open)

    run(test)


def test_one_of_which_all_tokens_could_have_come_is_asked_of_another_pair(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.configure(decode_first_byte_timeout=5.0, decode_token_timeout=1e-6)
        async with pair([hands_over], [hang, well]) as two:
            two.serve(bench)
            transaction = bench.ask(json.dumps({**json.loads(BODY), "stream": False}).encode())
            await until(lambda: bool(two.decode[0].asked))
            stand_still(bench, 4.0)
            assert transaction.done_calls == 0
            stand_still(bench, 6.0)
            await bench.ended(transaction)
            assert (transaction.status, transaction.body) == (200, b"well")
            assert bench.accounting.retries == {"decode-first-byte": 1}

    run(test)


def test_a_plane_tells_why_it_has_no_pair_and_whom_it_leaves_out(run: Run) -> None:
    async def test(bench: Bench) -> None:
        pairs = bench.fleet.pairs
        assert pairs.report(0.0) is None

        def serve(*names: str, version: str = "1") -> None:
            bench.serve_workers(
                *(
                    Worker(
                        id=name,
                        url=f"http://{name}:1",
                        role="prefill" if name[0] == "p" else "decode",
                        state="ready",
                        version=version if name == "d0" else "1",
                    )
                    for name in names
                )
            )

        serve("d0")
        assert pairs.report(0.0) == PairReport("no prefill worker is ready")
        serve("p0")
        assert pairs.report(0.0) == PairReport("no decode worker is ready")
        serve("p0", "d0", version="2")
        assert pairs.report(0.0) == PairReport("p0 runs version 1, d0 runs 2")
        serve("p0", "d0", "d1", version="2")
        assert pairs.report(0.0) == PairReport()
        slots = {slot.id: slot for slot in bench.fleet._slots.values()}
        for _ in range(FAILURES):
            pairs.breakers.failed((slots["p0"], slots["d1"]), 10.0)
        # The one that is left does not fit.
        left_out = (OpenPair("p0", "d1", FIRST_PAUSE - 1),)
        assert pairs.report(11.0) == PairReport("the breakers of all pairs are open", left_out, 1)
        assert pairs.report(10.0 + FIRST_PAUSE) == PairReport("", (OpenPair("p0", "d1", 0.0),), 1)

    run(test)


def test_it_tells_of_the_newest_ones_only(run: Run) -> None:
    async def test(bench: Bench) -> None:
        count = MAX_OPEN_PAIRS + 3
        bench.serve_workers(
            Worker(id="p", url="http://p:1", role="prefill", state="ready"),
            *(Worker(id=f"d{n}", url=f"http://d{n}:1", role="decode", state="ready") for n in range(count)),
        )
        pairs = bench.fleet.pairs
        slots = {slot.id: slot for slot in bench.fleet._slots.values()}
        for number in range(count):
            for _ in range(FAILURES):
                pairs.breakers.failed((slots["p"], slots[f"d{number}"]), float(number))
        told = pairs.report(0.0)
        assert told is not None
        assert [one.decode for one in told.open] == [f"d{number}" for number in range(3, count)]
        assert told.opened == count

    run(test)
