"""Requests and the limits of workers: who is full gets nobody, and a slot that becomes free is one request's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from dataplane.receipt_writing import receipt
from shared.plane_identity import PlaneIdentity
from shared.receipt import Receipt
from shared.table import Worker
from tests.unit.dataplane.forward_bench import Bench, Run, error_of, hang, well, workers
from tests.unit.dataplane.listening import refusing_port, until
from tests.unit.dataplane.scripted_worker import Asked, Script, ScriptedWorker


class Doors:
    """Workers that answer one request after the other, each when it is told to."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Event] = []

    async def script(self, asked: Asked) -> None:
        door = asyncio.Event()
        self._waiting.append(door)
        left = asyncio.create_task(asked.hang())
        opened = asyncio.create_task(door.wait())
        await asyncio.wait((left, opened), return_when=asyncio.FIRST_COMPLETED)
        is_open = not opened.cancel()
        left.cancel()
        await asyncio.wait((left,))
        if is_open:
            await asked.answer(b"{}")

    def open_one(self) -> None:
        self._waiting.pop(0).set()


def limited(url: str, most: int | None = 1, worker: str = "a", **more: Any) -> Worker:
    return Worker(id=worker, url=url, epoch=7, state="ready", models=("m",), max_concurrent_requests=most, **more)


def lend_all(bench: Bench, *names: str, amount: int = 1) -> None:
    bench.lend(**{f"worker:{name}": amount for name in names})


async def leave(bench: Bench) -> None:
    for transaction in bench.transactions:
        if not transaction.done_calls:
            transaction.leave()
    await until(lambda: not bench.forwarder._requests)


def waiting(bench: Bench, count: int) -> Callable[[], bool]:
    return lambda: bench.forwarder.limits.waiting == count


def told(bench: Bench) -> Receipt:
    record = bench.forwarder.receipts.find(b"mine")
    assert record is not None
    return receipt(record, plane="0", arrived=0.0)


def test_a_freed_slot_wakes_exactly_one_and_a_worker_never_has_more(run: Run) -> None:
    doors = Doors()

    async def test(bench: Bench) -> None:
        async with workers(doors.script) as (worker,):
            bench.serve_workers(limited(worker.url, 2))
            bench.configure()
            lend_all(bench, "a", amount=2)
            transactions = [bench.ask() for _ in range(6)]
            for done in range(6):
                here = min(6, done + 2)
                await until(lambda here=here, done=done: (len(worker.asked), bench.inflight()) == (here, here - done))  # type: ignore[misc]
                assert bench.forwarder.limits.waiting == 6 - here
                doors.open_one()
            for transaction in transactions:
                await bench.ended(transaction)
                assert transaction.status == 200

    run(test)


def test_a_limit_that_is_set_counts_those_that_are_open_at_the_worker_already(run: Run) -> None:
    doors = Doors()

    async def test(bench: Bench) -> None:
        async with workers(doors.script) as (worker,):
            bench.serve_workers(limited(worker.url, None))
            bench.configure()
            first, second = bench.ask(), bench.ask()
            await until(lambda: len(worker.asked) == 2)
            bench.serve_workers(limited(worker.url, 2))
            lend_all(bench, "a", amount=2)
            third = bench.ask()
            await until(waiting(bench, 1))
            doors.open_one()
            await bench.ended(first)
            assert bench.forwarder.limits.waiting == 1
            # It held no slot, so its end is only seen at the next look.
            lend_all(bench, "a", amount=2)
            await until(lambda: len(worker.asked) == 3)
            doors.open_one()
            doors.open_one()
            for transaction in (second, third):
                await bench.ended(transaction)
                assert transaction.status == 200
            lend_all(bench, "a", amount=2)

    run(test)


@pytest.mark.parametrize("policy", ["round_robin", "power_of_two", "cache_aware", "consistent_hash", "least_load"])
def test_whoever_is_full_is_no_candidate_of_any_policy(run: Run, policy: str) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang, hang) as (one, other):
            bench.configure(policy=policy)
            bench.serve_workers(limited(one.url, 2), limited(other.url, 3, "b"))
            bench.lend(**{"worker:a": 2, "worker:b": 3})
            for _ in range(6):
                # All of one session, so that a policy that keeps to homes wants one of the two.
                bench.ask(headers=[(b"x-session-id", b"s")])
            await until(lambda: len(one.asked) + len(other.asked) == 5)
            assert (len(one.asked), len(other.asked)) == (2, 3)
            assert bench.forwarder.limits.waiting == 1
            await leave(bench)

    run(test)


def test_a_receipt_says_who_was_left_out_because_it_was_full(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang, well) as (one, other):
            bench.configure()
            bench.serve_workers(limited(one.url), limited(other.url, None, "b"))
            lend_all(bench, "a")
            first = bench.ask()
            await until(lambda: len(one.asked) == 1)
            await bench.answer()
            (attempt,) = told(bench).attempts
            (left_out,) = attempt.left_out
            assert left_out.worker == "a"
            assert left_out.reason.startswith("is full: 1 request of this plane is there, of 1 of all planes")
            first.leave()

    run(test)


def test_without_room_to_wait_a_request_is_refused_and_told_why(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.configure(queue_size=0, worker_max_concurrent_requests=1)
            bench.serve(worker.url)
            lend_all(bench, "a")
            bench.ask()
            await until(lambda: len(worker.asked) == 1)
            refused = await bench.answer()
            assert (refused.status, error_of(refused)["code"]) == (503, "over_capacity")
            assert "max_concurrent_requests" in error_of(refused)["message"]
            assert refused.header(b"retry-after") == b"1"
            report = bench.forwarder.limits.report(
                PlaneIdentity(id="p", slot=0, pid=1, version="1", started=0.0), 1, is_due=True
            )
            assert report is not None
            # So the control plane knows that more is wanted there.
            assert report.holdings["worker:a"].needs == ({"": 2}, {})
            await leave(bench)

    run(test)


def test_one_that_waits_for_too_long_is_answered_504(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.configure(queue_timeout=0.05)
            bench.serve_workers(limited(worker.url))
            lend_all(bench, "a")
            bench.ask()
            await until(lambda: len(worker.asked) == 1)
            late = await bench.answer()
            assert (late.status, error_of(late)["code"]) == (504, "queue_timeout")
            assert len(worker.asked) == 1
            await leave(bench)

    run(test)


def test_g_cancel_1_who_leaves_while_all_are_full_is_never_dispatched(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.configure()
            bench.serve_workers(limited(worker.url))
            lend_all(bench, "a")
            first = bench.ask()
            await until(lambda: len(worker.asked) == 1)
            others = [bench.ask() for _ in range(20)]
            await until(lambda: all(other.receives == 2 for other in others))
            for other in others:
                other.leave()
            await until(waiting(bench, 0))
            first.leave()
            await bench.ended(first)
            assert len(worker.asked) == 1

    run(test)


def test_lower_priorities_take_what_higher_ones_have_no_room_for(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang, hang) as (one, other):
            bench.configure()
            bench.serve_workers(limited(one.url, priority=60), limited(other.url, worker="b", priority=10))
            lend_all(bench, "a", "b")
            bench.ask()
            await until(lambda: len(one.asked) == 1)
            bench.ask()
            await until(lambda: len(other.asked) == 1)
            bench.ask()
            await until(waiting(bench, 1))
            await leave(bench)

    run(test)


def refusing_first(times: int) -> Script:
    left = times

    async def script(asked: Asked) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            await asked.answer(b"busy", status=503)
        else:
            await asked.answer(b"well")

    return script


def test_one_that_is_refused_waits_for_another_worker_first_in_the_line(run: Run) -> None:
    doors = Doors()

    async def refuse_when_told(asked: Asked) -> None:
        await gate.wait()
        await asked.answer(b"busy", status=503)

    gate = asyncio.Event()

    async def test(bench: Bench) -> None:
        async with workers(refuse_when_told, doors.script) as (one, other):
            bench.configure()
            bench.serve_workers(limited(one.url), limited(other.url, worker="b"))
            lend_all(bench, "a", "b")
            refused = bench.ask(b'{"model":"m","n":0}')
            await until(lambda: len(one.asked) == 1)
            bench.ask(b'{"model":"m","n":1}')
            await until(lambda: len(other.asked) == 1)
            # From now on the first worker has no slot.
            bench.lend(**{"worker:a": 0, "worker:b": 1})
            bench.ask(b'{"model":"m","n":2}')
            await until(waiting(bench, 1))
            gate.set()
            await until(waiting(bench, 2))
            assert bench.inflight() == 1
            doors.open_one()
            await until(lambda: len(other.asked) == 2)
            assert json.loads(other.asked[1].body)["n"] == 0
            doors.open_one()
            await bench.ended(refused)
            assert refused.status == 200
            queue = told(bench).queue
            assert queue is not None
            assert (queue.position, queue.limit) == (0, "worker:")
            await leave(bench)

    run(test)


@pytest.mark.parametrize("by", ["client", "timeout", "shutdown", "late"])
def test_one_that_waits_for_another_worker_ends_there(run: Run, by: str) -> None:
    async def test(bench: Bench) -> None:
        async with workers(refusing_first(9), hang) as (one, other):
            bench.configure(queue_timeout=0.05 if by == "late" else 60.0)
            bench.serve_workers(limited(one.url), limited(other.url, worker="b"))
            bench.lend(**{"worker:a": 0, "worker:b": 1})
            bench.ask()
            await until(lambda: len(other.asked) == 1)
            bench.lend(**{"worker:a": 1, "worker:b": 1})
            transaction = bench.ask()
            await until(lambda: len(one.asked) == 1)
            if by != "late":
                await until(waiting(bench, 1))
            if by == "client":
                await until(lambda: transaction.listening)
                transaction.leave()
            elif by == "timeout":
                bench.configure(request_timeout=0)
                bench.forwarder.expire()
            elif by == "shutdown":
                bench.forwarder.interrupt_all()
            await bench.ended(transaction)
            if by == "late":
                assert (transaction.status, error_of(transaction)["code"]) == (504, "queue_timeout")
                assert "for another worker" in error_of(transaction)["message"]
            assert len(one.asked) == 1
            await leave(bench)

    run(test)


def test_a_dead_worker_with_free_slots_does_not_draw_those_that_wait(run: Run) -> None:
    doors = Doors()

    async def test(bench: Bench) -> None:
        async with workers(doors.script) as (worker,):
            with refusing_port() as port:
                bench.configure()
                bench.serve_workers(limited(worker.url), limited(f"http://127.0.0.1:{port}", 9, "b"))
                bench.lend(**{"worker:a": 1, "worker:b": 9})
                bench.fleet.missed(bench.fleet._slots["b"])
                transactions = [bench.ask() for _ in range(3)]
                await until(waiting(bench, 2))
                for number in range(3):
                    await until(lambda number=number: len(worker.asked) == number + 1)  # type: ignore[misc]
                    doors.open_one()
                for transaction in transactions:
                    await bench.ended(transaction)
                assert bench.accounting.worker_requests["b"] == 0

    run(test)


def test_a_worker_that_leaves_lets_those_that_wait_for_it_go_elsewhere(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang, well) as (one, other):
            bench.configure()
            bench.serve_workers(limited(one.url))
            lend_all(bench, "a")
            bench.ask()
            await until(lambda: len(one.asked) == 1)
            transaction = bench.ask()
            await until(waiting(bench, 1))
            bench.serve_workers(limited(other.url, None, "b"))
            await bench.ended(transaction)
            assert transaction.status == 200
            await leave(bench)

    run(test)


def test_what_a_worker_that_left_still_does_counts_when_it_is_back(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.configure()
            bench.serve_workers(limited(worker.url, 2))
            lend_all(bench, "a", amount=2)
            bench.ask()
            await until(lambda: len(worker.asked) == 1)
            bench.serve_workers()
            bench.serve_workers(limited(worker.url, 2))
            lend_all(bench, "a", amount=2)
            bench.ask()
            bench.ask()
            await until(lambda: len(worker.asked) == 2)
            assert bench.forwarder.limits.waiting == 1
            await leave(bench)

    run(test)


def test_a_limit_that_is_lifted_lets_all_go_on(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(hang) as (worker,):
            bench.configure()
            bench.serve_workers(limited(worker.url))
            lend_all(bench, "a")
            for _ in range(3):
                bench.ask()
            await until(waiting(bench, 2))
            bench.serve_workers(limited(worker.url, 0))
            await until(lambda: len(worker.asked) == 3)
            await leave(bench)

    run(test)


async def home_of(bench: Bench, one: ScriptedWorker, other: ScriptedWorker) -> tuple[str, ScriptedWorker]:
    made = bench.ask(path="/v1/responses")
    await bench.ended(made)
    return ("a", one) if one.asked else ("b", other)


def test_a_request_that_only_one_worker_can_serve_waits_for_that(run: Run) -> None:
    doors = Doors()

    async def responses(asked: Asked) -> None:
        if b"previous" not in asked.body and not asked.line.startswith(b"GET"):
            await asked.answer(b'{"id":"resp_1"}')
        else:
            await doors.script(asked)

    async def test(bench: Bench) -> None:
        async with workers(responses, responses) as (one, other):
            bench.configure()
            bench.serve_workers(limited(one.url), limited(other.url, worker="b"))
            lend_all(bench, "a", "b")
            _, home = await home_of(bench, one, other)
            body = b'{"model":"m","previous_response_id":"resp_1"}'
            first = bench.ask(body, path="/v1/responses")
            await until(lambda: len(home.asked) == 2)
            second = bench.ask(body, path="/v1/responses")
            await until(waiting(bench, 1))
            # What makes no work for an engine never waits.
            bench.ask(method="GET", path="/v1/responses/resp_1")
            await until(lambda: len(home.asked) == 3)
            doors.open_one()
            await bench.ended(first)
            await until(lambda: len(home.asked) == 4)
            doors.open_one()
            doors.open_one()
            await bench.ended(second)
            assert len(one.asked) + len(other.asked) == 4

    run(test)
