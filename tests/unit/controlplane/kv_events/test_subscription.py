"""Following a publisher over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
import zmq.asyncio

from controlplane.kv_events.feed import Feed, SourceKey
from controlplane.kv_events.pace import Pace
from controlplane.kv_events.sources import Endpoint
from controlplane.kv_events.subscription import Subscription
from shared.clock import SystemClock
from tests.unit.controlplane.kv_events.engine import keys_of
from tests.unit.controlplane.kv_events.publishing import Publisher, context, stored_map
from tests.unit.controlplane.waiting import until

KEY = SourceKey("http://w:1", 0)
CLEARED = {"type": "AllBlocksCleared"}


class Scene:
    def __init__(self, made: zmq.asyncio.Context, publisher: Publisher) -> None:
        self.publisher = publisher
        self.feed = Feed(10_000)
        self.changes = 0
        endpoint = Endpoint(0, publisher.endpoint, publisher.replay_endpoint, "kv-")
        self.subscription = Subscription(
            made, KEY, endpoint, self.feed, self._changed, SystemClock(), Pace(0.0), asyncio.Semaphore(1)
        )

    def _changed(self) -> None:
        self.changes += 1

    def held(self) -> set[int]:
        if not self.feed.report():
            return set()
        return set(self.feed._sources[KEY].index.held()[0])

    async def holds(self, *prompts: Sequence[int]) -> None:
        """Wait until the index holds just these prompts."""
        wanted = {key for prompt in prompts for key in keys_of(prompt)}
        await until(lambda: self.held() == wanted)

    async def connected(self) -> None:
        """Wait until messages arrive: a subscription takes a moment to be in place."""
        async with asyncio.timeout(30):
            before = self.subscription.messages
            while self.subscription.messages == before:
                await self.publisher.publish()
                await asyncio.sleep(0.01)


def play(act: Callable[[Scene], Awaitable[None]], *, has_replay: bool = True, buffer: int = 100) -> None:
    async def run() -> None:
        async with context() as made:
            publisher = Publisher(made, has_replay=has_replay, buffer=buffer)
            await publisher.publish(stored_map([1, 2]))
            scene = Scene(made, publisher)
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                tasks = [group.create_task(scene.publisher.answer()), group.create_task(scene.subscription.run())]
                await act(scene)
                for task in tasks:
                    task.cancel()
            assert scene.feed.report() == ()

    asyncio.run(run())


def test_what_was_published_before_is_replayed_and_the_rest_followed() -> None:
    async def act(scene: Scene) -> None:
        await scene.holds([1, 2])
        await scene.connected()
        await scene.publisher.publish(stored_map([3, 4, 5, 6]))
        await scene.holds([1, 2], [3, 4, 5, 6])
        await scene.publisher.publish(CLEARED, stored_map([7, 8]))
        await scene.holds([7, 8])
        assert scene.changes

    play(act)


def test_a_lost_message_is_replayed() -> None:
    async def act(scene: Scene) -> None:
        await scene.connected()
        await scene.publisher.publish(stored_map([3, 4]), lost=True)
        await scene.publisher.publish(stored_map([5, 6]))
        await scene.holds([1, 2], [3, 4], [5, 6])
        assert scene.feed.report()[0].purges == 0
        assert len(scene.publisher.replays) == 2

    play(act)


def test_a_long_replay_comes_whole() -> None:
    async def act(scene: Scene) -> None:
        for number in range(4000):
            await scene.publisher.publish(stored_map([number, number]), lost=True)
        await scene.connected()
        await until(lambda: len(scene.held()) == 4001)
        assert scene.feed.report()[0].purges == 0

    play(act, buffer=10_000)


@pytest.mark.parametrize("has_replay", [True, False])
def test_what_can_not_be_replayed_empties_the_index(has_replay: bool) -> None:
    async def act(scene: Scene) -> None:
        await scene.connected()
        for _ in range(3):
            await scene.publisher.publish(stored_map([3, 4]), lost=True)
        await scene.publisher.publish(stored_map([5, 6]))
        await scene.holds([5, 6])
        assert scene.feed.report()[0].purges == 1

    play(act, has_replay=has_replay, buffer=1)


def test_a_restarted_engine_holds_nothing_of_before() -> None:
    async def act(scene: Scene) -> None:
        await scene.connected()
        await scene.publisher.publish(stored_map([5, 6]))
        await scene.holds([5, 6])
        await scene.publisher.restart()
        await scene.connected()
        await scene.publisher.publish(stored_map([3, 4]))
        await scene.holds([3, 4])

    play(act, has_replay=False)


def test_what_is_no_message_is_dropped_and_counted() -> None:
    async def act(scene: Scene) -> None:
        await scene.connected()
        number = b"\0" * 8
        for rest in ([], [b"7", b""], [number, b"\xc1"], [b"x"] * 9):
            await scene.publisher.publish(frames=[b"kv-events", *rest])
        await scene.publisher.publish({"type": "Unheard"}, stored_map([3, 4]))
        await until(lambda: scene.subscription.malformed >= 5)
        await scene.holds([1, 2], [3, 4])

    play(act)


def test_an_endpoint_that_is_none_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with context() as made:
            feed = Feed(10)
            endpoint = Endpoint(0, "tcp://no port", None)
            await Subscription(
                made, KEY, endpoint, feed, lambda: None, SystemClock(), Pace(0.0), asyncio.Semaphore(1)
            ).run()
            assert feed.report() == ()

    asyncio.run(run())
    assert "tcp://no port" in caplog.text
