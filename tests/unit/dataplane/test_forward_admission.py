"""Requests and the limits: those that wait, those that are refused, and what each holds until its last byte."""

from __future__ import annotations

import asyncio
import gc
import json

import pytest

from dataplane.admission.gate import Gate
from dataplane.admission.ticket import Ticket
from dataplane.client_keys import Holder
from dataplane.receipt_writing import receipt
from shared.client_keys import ClientKey
from shared.errors import RouterError
from shared.plane_identity import PlaneIdentity
from tests.unit.dataplane.forward_bench import Bench, Run, begin_and_hang, close_at_once, error_of, hang, well, workers
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.scripted_worker import Asked


def test_a_request_counts_until_its_last_byte_and_then_the_next_one_goes_on(run: Run) -> None:
    gate = asyncio.Event()

    async def script(asked: Asked) -> None:
        await asked.begin()
        await asked.chunk(b"data: 1\n\n")
        await gate.wait()
        await asked.end()

    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=1)
            bench.lend(total=1)
            first = bench.ask()
            await until(lambda: len(first.sent) == 2)
            second = bench.ask()
            third = bench.ask()
            await until(lambda: bench.forwarder.limits.waiting == 2)
            assert len(worker.asked) == 1
            gate.set()
            for transaction in (first, second, third):
                await bench.ended(transaction)
                assert (transaction.status, transaction.whole) == (200, True)
            assert len(worker.asked) == 3
            (series,) = bench.accounting.queue_wait.values()
            assert sum(series.counts) == 2
            record = bench.forwarder.receipts.find(b"mine")
            assert record is not None
            queue = receipt(record, plane="0", arrived=0.0).queue
            assert queue is not None
            assert (queue.position, queue.expected, queue.limit) == (1, None, "total")
            assert queue.took > 0

    run(test)


def test_g_cancel_1_a_client_that_leaves_while_it_waits_is_never_dispatched(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=1)
            bench.lend(total=1)
            first = bench.ask()
            await until(lambda: len(worker.asked) == 1)
            others = [bench.ask() for _ in range(50)]
            await until(lambda: all(other.receives == 2 for other in others))
            for other in others:
                other.leave()
            await until(lambda: bench.forwarder.limits.waiting == 0)
            first.leave()
            await bench.ended(first)
            assert len(worker.asked) == 1
            assert bench.accounting.aborted_in[("client", "queued")] == 50
            assert bench.accounting.worker_requests == {"a": 1}

    run(test)


def test_without_room_to_wait_a_request_is_answered_503_with_the_time_that_a_place_takes(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=1, queue_size=0)
            bench.lend(total=1)
            first = bench.ask()
            await until(lambda: len(worker.asked) == 1)
            refused = await bench.answer()
            assert refused.status == 503
            assert refused.header(b"retry-after") == b"1"
            # Nothing has ended yet: more is not known.
            assert refused.header(b"retry-after-ms") is None
            error = error_of(refused)
            assert (error["code"], error["type"]) == ("over_capacity", "router_error")
            assert "--max-concurrent-requests" in error["message"]
            assert bench.accounting.errors == {("router", "over_capacity"): 1}
            first.leave()

    run(test)


def test_without_room_to_wait_a_plane_that_has_no_part_asks_for_one_first(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataplane.admission.asking.LEASE_WAIT", 60.0)

    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=1, queue_size=0)
            bench.lend(total=0)
            bench.forwarder.limits.needs_report.clear()
            lone = bench.ask()
            await until(lambda: bench.forwarder.limits.waiting == 1)
            assert bench.forwarder.limits.needs_report.is_set(), "it asks at once"
            bench.lend(total=1)
            await bench.ended(lone)
            assert (lone.status, len(worker.asked)) == (200, 1)

    run(test)


def test_without_room_to_wait_and_without_an_answer_it_is_refused_as_ever(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataplane.admission.asking.LEASE_WAIT", 0.05)

    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=2, queue_size=0)
            bench.lend(total=0)
            refused = await bench.answer()
            assert (refused.status, error_of(refused)["code"]) == (503, "over_capacity")
            said = error_of(refused)["message"]
            assert "This plane's 0 of 2 requests that may be open at a time are (--max-concurrent-requests)" in said
            assert "and none may wait (--queue-size)" in said
            assert bench.forwarder.limits.waiting == 0
            assert not worker.asked

    run(test)


class CountingGate(Gate):
    """Counts how often it is asked who goes on."""

    wakes = 0

    def wake(self, now: float) -> list[Ticket]:
        self.wakes += 1
        return super().wake(now)


def test_a_refusal_frees_nothing_and_wakes_nobody(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            limits = bench.forwarder.limits
            gate = limits.gate = limits._borrower._gate = CountingGate()
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=1, queue_size=1)
            bench.lend(total=1)
            first, second = bench.ask(), bench.ask()
            await until(lambda: len(worker.asked) == 1 and bench.forwarder.limits.waiting == 1)
            wakes = gate.wakes
            assert (await bench.answer()).status == 503
            assert gate.wakes == wakes
            first.leave()
            await until(lambda: len(worker.asked) == 2)
            second.leave()

    run(test)


def refusals() -> int:
    """Return how many errors for want of room this process holds."""
    errors = (one for one in gc.get_objects() if issubclass(type(one), RouterError))
    return sum(one.code == "over_capacity" for one in errors)


def test_a_refusal_leaves_nothing_to_the_garbage_collector(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=1, queue_size=0)
            bench.lend(total=1)
            first = bench.ask()
            await until(lambda: len(worker.asked) == 1)
            gc.collect()
            gc.disable()
            try:
                before = refusals()
                assert (await bench.answer()).status == 503
                # Under overload that is most of what a plane makes: looking for it held the loop up for 25 ms.
                assert refusals() == before
            finally:
                gc.enable()
            first.leave()

    run(test)


def test_only_the_first_of_a_tenant_that_waits_is_told_to_the_control_plane_at_once(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=1, queue_size=3)
            bench.lend(total=1)
            first = bench.ask()
            await until(lambda: len(worker.asked) == 1)
            limits = bench.forwarder.limits
            told = []

            async def tell(key: Holder | None, *, waiting: int, refused: int) -> None:
                limits.needs_report.clear()
                bench.ask(key=key)
                await until(lambda: (limits.waiting, bench.accounting.rejected.total()) == (waiting, refused))
                told.append(limits.needs_report.is_set())

            await tell(None, waiting=1, refused=0)
            await tell(None, waiting=2, refused=0)
            await tell(holder("other"), waiting=3, refused=0)
            await tell(None, waiting=3, refused=1)
            assert told == [True, False, True, False]
            first.leave()
            for transaction in bench.transactions:
                transaction.leave()

    run(test)


def test_refused_clients_are_told_to_the_millisecond_when_to_come_back(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            bench.configure(rate_limit=0.1, queue_size=1)
            bench.lend(rate=100)
            waiting = bench.ask()
            await until(lambda: bench.forwarder.limits.waiting == 1)
            answers = [await bench.answer() for _ in range(3)]
            told = [int(answer.header(b"retry-after-ms") or 0) for answer in answers]
            assert 0 < told[0] < told[1] < told[2] < 60_000
            assert [answer.header(b"retry-after") for answer in answers] == [b"%d" % -(-ms // 1000) for ms in told]
            waiting.leave()

    run(test)


def test_a_request_that_waits_for_too_long_is_answered_504_and_was_sent_to_nobody(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=1, queue_timeout=0.05)
            bench.lend(total=1)
            first = bench.ask()
            await until(lambda: len(worker.asked) == 1)
            late = await bench.answer()
            assert (late.status, error_of(late)["code"]) == (504, "queue_timeout")
            assert late.header(b"retry-after")
            assert len(worker.asked) == 1
            first.leave()

    run(test)


def test_above_the_rate_a_request_waits_for_its_turn_and_is_refused_when_it_may_not(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.serve(worker.url)
            bench.configure(rate_limit=5.0, queue_size=1)
            bench.lend(rate=5_000)
            first = bench.ask()
            refused = await bench.answer()
            assert (refused.status, error_of(refused)["code"]) == (429, "rate_limit_exceeded")
            assert refused.header(b"retry-after") == b"1"
            await bench.ended(first)
            assert first.status == 200

    run(test)


def test_a_plane_that_knows_of_no_lease_yet_lets_requests_wait_whatever_the_queue(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=5, queue_size=0)
            waiting = [bench.ask() for _ in range(3)]
            await until(lambda: bench.forwarder.limits.waiting == 3)
            bench.lend(total=5)
            for transaction in waiting:
                await bench.ended(transaction)
                assert transaction.status == 200

    run(test)


def test_a_smaller_lease_lets_nobody_go_on_until_enough_have_ended(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=5)
            bench.lend(total=3)
            first = [bench.ask() for _ in range(3)]
            await until(lambda: len(worker.asked) == 3)
            bench.lend(total=1)
            last = bench.ask()
            for transaction in first[:2]:
                transaction.leave()
                await bench.ended(transaction)
            assert bench.forwarder.limits.waiting == 1
            first[2].leave()
            await until(lambda: len(worker.asked) == 4)
            last.leave()

    run(test)


def test_what_is_no_work_for_an_engine_does_not_count(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(begin_and_hang, well) as (busy, _):
            bench.serve(busy.url)
            bench.configure(max_concurrent_requests=1, queue_size=0)
            bench.lend(total=1)
            first = bench.ask()
            await until(lambda: len(busy.asked) == 1)
            look = bench.ask(b"", method="GET", path="/version")
            await until(lambda: len(busy.asked) == 2)
            for transaction in (first, look):
                transaction.leave()

    run(test)


def test_when_all_workers_fail_a_long_queue_empties_itself(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=1, queue_size=2000)
            bench.lend(total=1)
            first = bench.ask()
            await until(lambda: len(worker.asked) == 1)
            waiting = [bench.ask() for _ in range(1500)]
            bench.serve(worker.url, state="unhealthy")
            first.leave()
            for transaction in waiting:
                await bench.ended(transaction)
                assert transaction.status == 503

    run(test)


@pytest.mark.parametrize("amount", [0, 7])
def test_limits_that_change_hold_for_those_that_wait(run: Run, amount: int) -> None:
    async def test(bench: Bench) -> None:
        async with workers(close_at_once, hang) as (_, worker):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=2)
            bench.lend(total=2)
            open_ones = [bench.ask() for _ in range(4)]
            await until(lambda: len(worker.asked) == 2)
            bench.configure(max_concurrent_requests=amount)
            if amount:
                bench.lend(total=4)
            await until(lambda: len(worker.asked) == 4)
            for transaction in open_ones:
                transaction.leave()

    run(test)


def test_a_full_model_is_named_in_the_answer(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=9, model_limits={"m": 1}, queue_size=0)
            bench.lend(**{"total": 9, "model:m": 1})
            first = bench.ask()
            await until(lambda: len(worker.asked) == 1)
            refused = await bench.answer()
            assert refused.status == 503
            assert "The 1 request for `m` that may be open at a time is (--model-max" in error_of(refused)["message"]
            # The other one is another plane's, and perhaps free.
            bench.configure(max_concurrent_requests=9, model_limits={"m": 2}, queue_size=0)
            bench.lend(**{"total": 9, "model:m": 1})
            assert "This plane's 1 of 2 requests for `m`" in error_of(await bench.answer())["message"]
            first.leave()

    run(test)


def holder(name: str, tenant: str = "", service_class: str = "") -> Holder:
    return Holder(ClientKey(name=name, digest=b"", tenant=tenant, service_class=service_class))


def test_tenants_take_turns_and_batch_waits_for_all_others(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=1)
            bench.lend(total=0)
            batch, flood, other = holder("b", service_class="batch"), holder("f", "flood"), holder("o")
            keys = [batch, flood, flood, flood, other]
            for number, key in enumerate(keys):
                bench.ask(b'{"model":"m","n":%d}' % number, key=key)
            await until(lambda: bench.forwarder.limits.waiting == len(keys))
            identity = PlaneIdentity(id="p", slot=0, pid=1, version="1", started=0.0)
            report = bench.forwarder.limits.report(identity, 1, is_due=True)
            assert report is not None
            assert report.holdings["total"].needs == ({"flood": 3, "o": 1}, {"b": 1})
            bench.lend(total=1)
            for transaction in bench.transactions:
                await bench.ended(transaction)
            order = [json.loads(asked.body)["n"] for asked in worker.asked]
            assert order == [1, 4, 2, 3, 0]

    run(test)


def test_requests_ask_for_a_class_and_for_how_long_they_wait(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=1)
            bench.lend(total=0)
            batch = Holder(ClientKey(name="b", digest=b"", service_class="batch"))
            chooses = Holder(ClientKey(name="c", digest=b"", service_class="batch", may_choose_class=True))
            better, lower = (b"x-routerctl-class", b"interactive"), (b"x-routerctl-class", b"batch")
            asked = [(lower, None), (better, chooses), (lower, holder("o"))]
            waiting = [
                bench.ask(b'{"model":"m","n":%d}' % number, headers=[field], key=key)
                for number, (field, key) in enumerate(asked)
            ]
            refused = await bench.answer(headers=[better], key=batch)
            assert (refused.status, error_of(refused)["code"]) == (403, "class_not_allowed")
            hasty = await bench.answer(headers=[(b"x-routerctl-queue-timeout-secs", b"0")])
            assert (hasty.status, error_of(hasty)["code"]) == (503, "over_capacity")
            assert "(x-routerctl-queue-timeout-secs)" in error_of(hasty)["message"]
            late = await bench.answer(headers=[(b"x-routerctl-queue-timeout-secs", b"0.05")])
            assert (late.status, error_of(late)["code"]) == (504, "queue_timeout")
            bench.lend(total=1)
            for transaction in waiting:
                await bench.ended(transaction)
            assert [json.loads(asked.body)["n"] for asked in worker.asked] == [1, 0, 2]
            assert not any(name.startswith(b"x-routerctl") for asked in worker.asked for name, _ in asked.fields)

    run(test)


@pytest.mark.parametrize("preempts", [True, False])
def test_one_of_class_batch_whose_answer_has_not_begun_is_taken_back_for_another(run: Run, *, preempts: bool) -> None:
    async def script(asked: Asked) -> None:
        number = json.loads(asked.body)["n"]
        if number == 0:
            await begin_and_hang(asked)
        elif number == 1 and len([one for one in seen if one == 1]) < 1:
            seen.append(1)
            await asked.hang()
        else:
            seen.append(number)
            await asked.answer(b"{}")

    seen: list[int] = []

    async def test(bench: Bench) -> None:
        async with workers(script) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=2, preempt_batch=preempts)
            bench.lend(total=2)
            batch = holder("b", service_class="batch")
            begun = bench.ask(b'{"model":"m","n":0}', key=batch)
            await until(lambda: len(begun.sent) == 2)
            taken = bench.ask(b'{"model":"m","n":1}', key=batch)
            await until(lambda: seen == [1])
            first = bench.ask(b'{"model":"m","n":2}')
            if preempts:
                for transaction in (first, taken):
                    await bench.ended(transaction)
                    assert (transaction.status, transaction.whole) == (200, True)
                assert seen == [1, 2, 1]
                assert bench.accounting.retries == {"preempted": 1}
                assert bench.accounting.worker_failures == {}
            else:
                await until(lambda: bench.forwarder.limits.waiting == 1)
                first.leave()
                await bench.ended(first)
                taken.leave()
            begun.leave()

    run(test)


def test_who_is_taken_back_once_stays_the_next_time_and_may_leave_while_it_waits(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.serve(worker.url)
            bench.configure(max_concurrent_requests=1, preempt_batch=True)
            bench.lend(total=1)
            taken = bench.ask(key=holder("b", service_class="batch"))
            await until(lambda: len(worker.asked) == 1)
            first = bench.ask()
            await until(lambda: len(worker.asked) == 2 and bench.forwarder.limits.waiting == 1)
            first.leave()
            await until(lambda: len(worker.asked) == 3)
            second = bench.ask()
            await until(lambda: bench.forwarder.limits.waiting == 1)
            assert bench.accounting.retries == {"preempted": 1}
            second.leave()
            await bench.ended(second)
            taken.leave()
            await bench.ended(taken)
            bench.ask(key=holder("b", service_class="batch"))
            await until(lambda: len(worker.asked) == 4)
            third = bench.ask()
            await until(lambda: len(worker.asked) == 5)
            bench.transactions[-2].leave()
            await bench.ended(bench.transactions[-2])
            assert len(worker.asked) == 5
            third.leave()

    run(test)
