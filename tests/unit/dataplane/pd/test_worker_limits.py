"""Limits of prefill and decode workers: a request goes on when there is a slot of each, and holds what it is sent."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.unit.dataplane.forward_bench import Bench, Run, begin_and_hang, error_of, hang, stream
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.pd.two import BODY, Pair, answers, first, hands_over, pair


def serve(bench: Bench, two: Pair, **lent: int) -> None:
    """Serve with a limit of 9 at each worker, of which the plane may have what is `lent`."""
    two.serve(bench)
    bench.serve_workers(*(msgspec.structs.replace(one, max_concurrent_requests=9) for one in bench._workers))
    lend(bench, **lent)


def lend(bench: Bench, **lent: int) -> None:
    bench.lend(**{f"worker:{worker}": amount for worker, amount in lent.items()})


def in_use(bench: Bench) -> dict[str, int]:
    slots = bench.forwarder.limits.gate.workers.slots
    return {worker: one.in_use for worker, one in slots.items() if one.in_use}


async def leave(bench: Bench, *transactions: Any) -> None:
    for transaction in transactions:
        transaction.leave()
    await until(lambda: not bench.forwarder._requests)
    assert in_use(bench) == {}


def test_a_decode_workers_slot_is_kept_while_the_prompt_is_computed(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hang], [stream]) as two:
            serve(bench, two, p0=5, d0=1)
            one = bench.ask(BODY)
            await until(lambda: len(two.prefill[0].asked) == 1)
            assert in_use(bench) == {"p0": 1, "d0": 1}
            # No prompt is computed for which there is no decode worker.
            other = bench.ask(BODY)
            await until(lambda: bench.forwarder.limits.waiting == 1)
            assert len(two.prefill[0].asked) == 1
            await leave(bench, one, other)

    run(test)


def test_a_prefill_workers_slot_is_free_when_it_has_answered(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [begin_and_hang]) as two:
            serve(bench, two, p0=1, d0=2)
            some = [bench.ask(BODY) for _ in range(3)]
            await until(lambda: len(two.decode[0].asked) == 2)
            assert in_use(bench) == {"d0": 2}
            assert bench.forwarder.limits.waiting == 1
            await leave(bench, *some)

    run(test)


def test_a_decode_leg_that_finds_all_full_waits_first_in_the_line(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [answers(503), stream]) as two:
            bench.configure(pd_fallback=False)
            serve(bench, two, p0=9, d0=1, d1=0)
            one = bench.ask(BODY)
            await until(lambda: bench.forwarder.limits.waiting == 1)
            assert len(two.decode[0].asked) == 1
            other = bench.ask(BODY.replace(b'"x"', b'"other"'))
            await until(lambda: bench.forwarder.limits.waiting == 2)
            lend(bench, p0=9, d0=0, d1=1)
            await bench.ended(one)
            await bench.ended(other)
            assert [json.loads(asked.body)["prompt"] for asked in two.decode[1].asked] == ["x", "other"]
            assert (one.status, other.status) == (200, 200)
            assert in_use(bench) == {}

    run(test)


@pytest.mark.parametrize("missing", ["p0", "d0"])
def test_without_room_to_wait_it_is_refused_before_anything_is_asked(run: Run, missing: str) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [stream]) as two:
            bench.configure(queue_size=0)
            serve(bench, two, **{"p0": 1, "d0": 1, missing: 0})
            refused = await bench.answer(BODY)
            assert (refused.status, error_of(refused)["code"]) == (503, "over_capacity")
            assert not two.prefill[0].asked
            assert not two.decode[0].asked

    run(test)


def test_who_does_all_of_it_alone_keeps_nobody_from_the_other_half(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([first(answers(503), hang)], [begin_and_hang]) as two:
            serve(bench, two, p0=1, d0=1)
            one = bench.ask(BODY)
            # The prefill worker refuses, and the decode worker does the whole request.
            await until(lambda: len(two.decode[0].asked) == 1)
            await until(lambda: in_use(bench) == {"d0": 1})
            await leave(bench, one)

    run(test)
