"""From workers to the messages that planes get: who is asked, who is followed, and until when."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from controlplane.discovery.static import static_workers
from controlplane.health import HealthRules
from controlplane.kv_events.metrics import kv_metrics
from controlplane.kv_events.service import KvEvents
from controlplane.registry import ProbeResult, Registry
from shared.clock import SystemClock
from shared.config import StartConfig
from shared.kv_chain import unpack
from shared.kv_messages import KvRequest, KvStanding, KvUpdate
from shared.table import Stamp
from tests.unit.controlplane.fake_worker import FakeWorker
from tests.unit.controlplane.kv_events.engine import keys_of
from tests.unit.controlplane.kv_events.publishing import Publisher, context, stored_map
from tests.unit.controlplane.waiting import until

PATH = "/kv_event_sources"
CONFIG = StartConfig(policy="kv_aware")


class Planes:
    """Stands where the planes are: keeps what they are told."""

    stamp = Stamp(1, 1, 0)

    def __init__(self) -> None:
        self.held: dict[tuple[str, int], set[int]] = {}
        self.standings: list[KvStanding] = []
        self.lives: set[int] = set()

    def tell(self, message: KvUpdate | KvStanding) -> None:
        if isinstance(message, KvStanding):
            self.standings.append(message)
            return
        held = self.held.setdefault((message.state.worker, message.state.rank), set())
        if message.state.seq == 1:
            held.clear()
        self.lives.add(message.state.life)
        for key, tier in zip(unpack(message.keys), message.tiers, strict=True):
            if tier:
                held.add(key)
            else:
                held.discard(key)


class Figures(Collector):
    def __init__(self, events: KvEvents) -> None:
        self._events = events

    def collect(self) -> Iterator[Metric]:
        return kv_metrics(self._events)


class Scene:
    def __init__(self, made: Any, worker: FakeWorker, publisher: Publisher, config: StartConfig) -> None:
        self.worker = worker
        self.publisher = publisher
        self.planes = Planes()
        self.registry = Registry(HealthRules())
        self.registry.sync(static_workers([worker.url]), now=0.0, wall=0.0)
        self.events = KvEvents(made, self.registry, config, SystemClock(), self.planes)

    def offer(self) -> None:
        """Let the worker tell where it publishes."""
        source = {"endpoint": self.publisher.endpoint, "replay_endpoint": self.publisher.replay_endpoint}
        self.worker.answers[PATH] = (200, json.dumps({"3": source}).encode())

    def see(self, outcome: str, times: int = 1) -> None:
        for _ in range(times):
            result = ProbeResult("ok") if outcome == "ok" else ProbeResult("refused", "no")
            self.registry.probed(self.worker.url, result, now=1.0, wall=1.0)
        self.events.follow()

    def held(self) -> set[int]:
        return self.planes.held.get((self.worker.url, 3), set())

    def figures(self) -> str:
        registry = CollectorRegistry()
        registry.register(Figures(self.events))
        return generate_latest(registry).decode()


def play(act: Callable[[Scene], Awaitable[None]], config: Callable[[str, str], StartConfig] | None = None) -> None:
    async def run() -> None:
        worker = FakeWorker()
        await worker.start()
        try:
            async with context() as made:
                publisher = Publisher(made)
                chosen = CONFIG if config is None else config(worker.url, publisher.endpoint)
                scene = Scene(made, worker, publisher, chosen)
                await publisher.publish(stored_map([1, 2]))
                async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                    tasks = [group.create_task(publisher.answer()), group.create_task(scene.events.run())]
                    await act(scene)
                    for task in tasks:
                        task.cancel()
        finally:
            await worker.stop()

    asyncio.run(run())


def test_a_ready_worker_is_asked_and_followed() -> None:
    async def act(scene: Scene) -> None:
        scene.offer()
        scene.see("ok", 2)
        await until(lambda: scene.held() == set(keys_of([1, 2])))
        # It may have been told, and the standing that tells of it not yet.
        await until(lambda: any(source.blocks == 1 for source in scene.planes.standings[-1].sources))
        [page] = scene.events.pages(KvRequest(7, scene.worker.url, 3))
        assert unpack(page.keys) == keys_of([1, 2])
        assert f'routerctl_kv_blocks{{worker="{scene.worker.url}"}} 1.0' in scene.figures()
        assert "routerctl_kv_messages_total" in scene.figures()

    play(act)


def test_a_worker_that_is_not_ready_is_not_asked() -> None:
    async def act(scene: Scene) -> None:
        scene.offer()
        await until(lambda: len(scene.planes.standings) > 1)
        assert scene.worker.seen[PATH] == 0
        scene.see("ok", 2)
        await until(lambda: bool(scene.held()))

    play(act)


@pytest.mark.parametrize("answer", [(404, b"{}"), (200, b"{}"), (200, b"no"), (200, b'{"0": {"endpoint": "x"}}')])
def test_a_worker_that_tells_nothing_is_named(answer: tuple[int, bytes], caplog: pytest.LogCaptureFixture) -> None:
    async def act(scene: Scene) -> None:
        scene.worker.answers[PATH] = answer
        scene.see("ok", 2)
        await until(lambda: scene.events.without_events == {scene.worker.url})
        assert "routerctl_kv_silent_workers 1.0" in scene.figures()

    play(act)
    assert "tells no KV events" in caplog.text
    assert "--kv-event-source" in caplog.text


def test_another_life_of_a_worker_begins_with_an_empty_index() -> None:
    async def act(scene: Scene) -> None:
        scene.offer()
        scene.see("ok", 2)
        await until(lambda: bool(scene.held()))
        asked = scene.worker.seen[PATH]
        await scene.publisher.restart()
        scene.see("refused", 5)
        scene.see("ok", 3)
        await until(lambda: scene.worker.seen[PATH] > asked)
        await until(lambda: bool(scene.planes.standings) and _blocks(scene.planes.standings[-1]) == [0])

    play(act)


def _blocks(standing: KvStanding) -> list[int]:
    return [source.blocks for source in standing.sources]


def test_named_sources_are_followed_without_asking() -> None:
    def config(worker: str, endpoint: str) -> StartConfig:
        return replace(CONFIG, kv_event_source=(f"{worker}={endpoint}",), kv_event_block_size=16)

    async def act(scene: Scene) -> None:
        scene.events.follow()
        async with asyncio.timeout(30):
            while not scene.events.messages:
                await scene.publisher.publish(stored_map([1, 2]))
                await asyncio.sleep(0.01)
        assert scene.worker.seen[PATH] == 0
        # Its blocks have another size than the one that was given.
        await until(lambda: any(report.lost.unusable for report in scene.events.report()))
        assert 'reason="unusable"' in scene.figures()
        assert not scene.held()

    play(act, config)


def test_without_the_policy_nobody_is_followed() -> None:
    async def act(scene: Scene) -> None:
        scene.offer()
        scene.see("ok", 2)
        assert scene.figures() == ""
        scene.events.want(StartConfig(policy="random", policies={"m": "kv_aware"}))
        await until(lambda: bool(scene.held()))
        scene.events.want(StartConfig(policy="random"))
        await until(lambda: scene.events.report() == ())
        told = len(scene.planes.standings)
        scene.events.want(CONFIG)
        await until(lambda: len(scene.planes.standings) > told and len(scene.events.report()) == 1)

    play(act, lambda *_: StartConfig(policy="random"))
