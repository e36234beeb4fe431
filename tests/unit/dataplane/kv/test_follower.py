"""The replica with a real event loop around it."""

from __future__ import annotations

import asyncio
from random import Random

from dataplane.kv.follower import KvFollower
from dataplane.kv.replica import Ask
from tests.unit.dataplane.kv.test_replica import Truth, held, standing
from tests.unit.dataplane.listening import until

DEVICE = {1: 1, 2: 1}


def test_what_is_missing_is_asked_for_and_taken_in() -> None:
    async def run() -> None:
        asks: list[Ask] = []

        def ask(question: Ask) -> bool:
            asks.append(question)
            return True

        follower, truth = KvFollower(Random(1), ask), Truth()
        truth.change(DEVICE)
        follower.take(standing(truth))
        await until(lambda: bool(asks))
        for page in truth.pages(asks[0].request_id, size=1):
            follower.take(page)
        assert held(follower.replica) == DEVICE
        follower.take(truth.change({3: 1}))
        assert follower.replica.blocks == 3

    asyncio.run(run())


def test_a_question_that_does_not_go_out_is_asked_again() -> None:
    async def run() -> None:
        asks: list[Ask] = []

        def ask(question: Ask) -> bool:
            asks.append(question)
            return len(asks) > 1

        follower, truth = KvFollower(Random(1), ask), Truth()
        truth.change(DEVICE)
        follower.take(standing(truth))
        await until(lambda: len(asks) == 2)
        assert asks[0] != asks[1]

    asyncio.run(run())


def test_what_nobody_wants_is_not_asked_for() -> None:
    async def run() -> None:
        asks: list[Ask] = []

        def ask(question: Ask) -> bool:
            asks.append(question)
            return True

        follower, truth = KvFollower(Random(1), ask), Truth()
        follower.take(truth.change(DEVICE))
        truth.change({3: 1})
        follower.take(standing(truth))
        assert follower.replica.resyncs == 1
        follower.forget()
        assert (follower.replica.sources, follower.replica.next_tick(), follower.replica.resyncs) == (0, None, 1)
        # Its own timer would have asked by now.
        await asyncio.sleep(0.1)
        assert asks == []

    asyncio.run(run())
