"""The plane's subscriber over real sockets, against a publisher in the same process that can misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest
import zmq.asyncio

from controlplane.publication import Publication
from dataplane.subscriber.client import SubscriberClient, load_last_known_good
from dataplane.subscriber.link import LocalLink
from shared.messages import (
    TOPIC_HEARTBEAT,
    TOPIC_INFLIGHT,
    TOPIC_LEARNT,
    TOPIC_LOAD,
    TOPIC_TABLE,
    Ack,
    Downward,
    Evidence,
    Goodbye,
    InflightReport,
    Learnt,
    LearntReport,
    LoadReport,
    Nack,
    PlaneInflight,
    PlaneLearnt,
    SnapshotRequest,
    Upward,
    WorkerLoad,
    decode_upward,
    encode,
)
from shared.plane_identity import PlaneIdentity
from shared.plane_report import CounterReport
from shared.policy_places import PolicyPlace
from shared.question_messages import Trial, Tried
from shared.runtime_dir import RuntimeDir
from shared.sockets import control_server, publisher, send_or_drop
from shared.table import RoutingTable, Settings, Worker, make_table

T = TypeVar("T", bound=Upward)
BEAT = 0.03
"""Seconds between heartbeats: oftener than in earnest, so that what they must find is found soon."""
PLACE = PolicyPlace("prefill", "m")
IDENTITY = PlaneIdentity(id="plane-a", slot=0, pid=1, version="0", started=0.0)


@pytest.fixture
def runtime_dir() -> Iterator[RuntimeDir]:
    # pytest's own temporary folders are too deep for the path of a UNIX socket.
    with tempfile.TemporaryDirectory(prefix="rc-") as folder:
        yield RuntimeDir(Path(folder))


class ControlPlane:
    """One life of a control plane: a publication on real sockets. Its heartbeats can be held."""

    def __init__(self, context: zmq.asyncio.Context, runtime_dir: RuntimeDir, epoch: int) -> None:
        self.publication = Publication(epoch, Settings())
        self.received: list[Upward] = []
        self.beating = True
        self._changes = 0
        self._out = publisher(context, runtime_dir.publish_endpoint)
        self._control = control_server(context, runtime_dir.control_endpoint)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat())
            tasks.create_task(self._serve())

    async def _beat(self) -> None:
        while True:
            if self.beating:
                self.send(TOPIC_HEARTBEAT, self.publication.heartbeat())
            await asyncio.sleep(BEAT)

    async def _serve(self) -> None:
        while True:
            sender, frame = await self._control.recv_multipart()
            message = decode_upward(frame)
            self.received.append(message)
            if isinstance(message, SnapshotRequest):
                send_or_drop(self._control, [sender, encode(self.publication.snapshot(message.request_id))])

    def send(self, topic: bytes, message: Downward) -> None:
        send_or_drop(self._out, [topic, encode(message)])

    def tell(self, message: Downward) -> None:
        """Say something to the one plane that there is."""
        send_or_drop(self._control, [IDENTITY.id.encode(), encode(message)])

    def send_raw(self, *frames: bytes) -> None:
        send_or_drop(self._out, list(frames))

    def change(self, *, lost: bool = False, policy: str = "round_robin") -> None:
        """Publish one more worker, or let the frame be lost."""
        self._changes += 1
        url = f"http://w{self._changes}:8000"
        workers = [*self.publication.table.workers.values(), Worker(id=url, url=url)]
        update = self.publication.change(workers, [], Settings(policy=policy))
        assert update is not None
        if not lost:
            self.send(TOPIC_TABLE, update)

    def of(self, kind: type[T]) -> list[T]:
        return [message for message in self.received if isinstance(message, kind)]

    def close(self) -> None:
        self._out.close()
        self._control.close()


class World:
    """A runtime folder, one plane's subscriber with what it said, and control planes that come and go."""

    def __init__(self, runtime_dir: RuntimeDir, disk: RoutingTable | None = None) -> None:
        self.runtime_dir = runtime_dir
        self.context = zmq.asyncio.Context()
        self.tables: list[RoutingTable] = []
        self.stale: list[bool] = []
        self.loads: list[LoadReport] = []
        self.others: list[PlaneInflight] = []
        self.learnt: dict[str, Learnt] = {}
        self.heard: list[PlaneLearnt] = []
        self.inflight: dict[str, int] = {}
        self.prefill: dict[str, int] = {}
        self._happened = asyncio.Event()
        self.client = SubscriberClient(
            LocalLink(runtime_dir),
            IDENTITY,
            last_known_good=disk,
            refuse=lambda table: "unknown policy" if table.settings.policy == "new" else None,
            on_table=self.tables.append,
            on_stale=self.stale.append,
            on_load=self.loads.append,
            on_plane_inflight=self.others.append,
            inflight=lambda: (dict(self.inflight), dict(self.prefill), sum(self.inflight.values())),
            counters=self._counters,
            refuse_settings=lambda settings: "unknown policy" if settings.policy == "new" else None,
            learnt=self._learnt,
            on_plane_learnt=self.heard.append,
            windows=lambda: {"key:k:requests": {12: 3}},
            rng=Random(1),
        )

    def _learnt(self) -> list[tuple[PolicyPlace, str, dict[str, Learnt]]]:
        learnt, self.learnt = self.learnt, {}
        return [(PLACE, "cache_aware", learnt)] if learnt else []

    def _counters(self, seq: int) -> CounterReport:
        table = self.client.table
        return CounterReport(
            plane=IDENTITY,
            seq=seq,
            active=0,
            table=table.stamp if table is not None else None,
            table_age=self.client.table_age,
            stale=self.client.stale,
            draining=False,
            waits_for="",
            resyncs=self.client.resyncs,
            inflight=dict(self.inflight),
            client_connections=12,
            client_connection_limit=400,
            worker_connections=7,
            kv_blocks=5,
            kv_resyncs=0,
            load_age=None,
            retry_budget=0.0,
            counters=(),
            histograms=(),
            outcomes={},
            lacks=(),
            pairs=None,
            exemplars=(),
        )

    @contextlib.asynccontextmanager
    async def subscribed(self) -> AsyncIterator[None]:
        async with running(self.client.run(self.context)):
            yield

    @contextlib.asynccontextmanager
    async def control_plane(self, epoch: int) -> AsyncIterator[ControlPlane]:
        control_plane = ControlPlane(self.context, self.runtime_dir, epoch)
        try:
            async with running(control_plane.run()):
                yield control_plane
        finally:
            control_plane.close()

    async def level(self, control_plane: ControlPlane) -> None:
        """Wait for the same table, and once for a frame that says so: then every subscription is in place."""
        await until(lambda: self.client.table == control_plane.publication.table)
        await until(lambda: self.client._machine.confirmed is not None)


@contextlib.asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run beside the block and end with it; a failure of the work fails the block."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(work)
        try:
            yield
        finally:
            task.cancel()


async def until(state: Callable[[], object]) -> None:
    """Wait for a state, however long it takes; pytest's time limit ends a test that never gets there."""
    while not state():  # noqa: ASYNC110 - any state of any object, and only in tests
        await asyncio.sleep(0.005)


def play(runtime_dir: RuntimeDir, scene: Callable[[World], Coroutine[Any, Any, None]], **world: Any) -> World:
    """Run one scene; what is left over (tasks, sockets) would make the context's end hang."""
    stage: list[World] = []

    async def main() -> None:
        stage.append(World(runtime_dir, **world))
        async with asyncio.timeout(30):
            await scene(stage[0])
        assert asyncio.all_tasks() == {asyncio.current_task()}
        stage[0].context.term()

    asyncio.run(main())
    return stage[0]


def test_welcome_snapshot_and_updates(runtime_dir: RuntimeDir) -> None:
    async def scene(world: World) -> None:
        async with world.control_plane(1) as control_plane:
            control_plane.change()
            async with world.subscribed():
                await world.level(control_plane)
                for _ in range(5):
                    control_plane.change()
                await world.level(control_plane)
                stamp = control_plane.publication.table.stamp
                await until(lambda: control_plane.of(Ack) and control_plane.of(Ack)[-1].stamp == stamp)
                assert world.client.resyncs == 0
                assert world.stale == [False]

    world = play(runtime_dir, scene)
    orders = [table.stamp.order for table in world.tables]
    assert orders == sorted(set(orders))
    assert orders[-1] == (1, 7)


def test_a_lost_update_is_found_by_the_next_one(runtime_dir: RuntimeDir) -> None:
    async def scene(world: World) -> None:
        async with world.control_plane(1) as control_plane, world.subscribed():
            await world.level(control_plane)
            control_plane.change(lost=True)
            control_plane.change()
            await world.level(control_plane)
            assert world.client.resyncs == 1

    play(runtime_dir, scene)


def test_a_lost_update_is_found_by_a_heartbeat(runtime_dir: RuntimeDir) -> None:
    async def scene(world: World) -> None:
        async with world.control_plane(1) as control_plane, world.subscribed():
            await world.level(control_plane)
            control_plane.change(lost=True)
            await world.level(control_plane)
            assert world.client.resyncs == 1

    play(runtime_dir, scene)


@pytest.mark.parametrize("epoch", [2, 1], ids=["next-epoch", "disk-lost"])
def test_a_restarted_control_plane_is_followed(runtime_dir: RuntimeDir, epoch: int) -> None:
    async def scene(world: World) -> None:
        async with world.subscribed():
            async with world.control_plane(epoch=1 if epoch == 2 else 9) as first:
                first.change()
                await world.level(first)
                kept = world.client.table
            await until(lambda: world.client.stale)
            assert world.client.table is kept
            async with world.control_plane(epoch) as second:
                second.change()
                await world.level(second)
                second.change()
                await world.level(second)
                await until(lambda: not world.client.stale)
                # It knows nothing of this plane yet, so the unchanged counts are told again.
                await until(lambda: second.of(InflightReport) and second.of(CounterReport))

    world = play(runtime_dir, scene)
    assert world.stale == [False, True, False]


def test_silence_makes_stale_and_a_sleeping_plane_is_woken_by_a_frame(runtime_dir: RuntimeDir) -> None:
    async def scene(world: World) -> None:
        async with world.control_plane(1) as control_plane, world.subscribed():
            await world.level(control_plane)
            control_plane.beating = False
            await until(lambda: world.client.stale)
            assert world.client.table == control_plane.publication.table
            control_plane.beating = True
            await until(lambda: not world.client.stale)
            assert world.client.resyncs == 0

    world = play(runtime_dir, scene)
    assert world.stale == [False, True, False]


def test_without_a_control_plane_the_table_from_disk_is_served(runtime_dir: RuntimeDir) -> None:
    disk = make_table(epoch=7, version=3, workers=[Worker(id="a", url="http://a:1")])
    runtime_dir.table.write_bytes(encode(disk))

    async def scene(world: World) -> None:
        async with world.subscribed():
            world.client.report_evidence("a", 1, "connect-failed", 1, False)
            await asyncio.sleep(0)
            assert world.client.table == disk
            assert world.client.stale
            async with world.control_plane(8) as control_plane:
                await world.level(control_plane)
                assert not control_plane.of(Evidence)

    world = play(runtime_dir, scene, disk=load_last_known_good(runtime_dir.table))
    assert [table.stamp.order for table in world.tables] == [(8, 1)]


def test_a_table_on_disk_that_is_not_whole_is_not_used(
    runtime_dir: RuntimeDir, caplog: pytest.LogCaptureFixture
) -> None:
    assert load_last_known_good(runtime_dir.table) is None
    assert not caplog.records
    good = encode(make_table(epoch=1, version=1, workers=[Worker(id="a", url="http://a:1")]))
    runtime_dir.table.write_bytes(good.replace(b"http://a:1", b"http://b:1"))
    assert load_last_known_good(runtime_dir.table) is None
    runtime_dir.table.write_bytes(good[:-3])
    assert load_last_known_good(runtime_dir.table) is None
    assert len(caplog.records) == 2
    runtime_dir.table.write_bytes(good)
    assert load_last_known_good(runtime_dir.table) is not None


def test_a_refused_table_is_told_with_the_reason(runtime_dir: RuntimeDir) -> None:
    async def scene(world: World) -> None:
        async with world.control_plane(1) as control_plane, world.subscribed():
            await world.level(control_plane)
            before = world.client.table
            control_plane.change(policy="new")
            refused = control_plane.publication.table.stamp
            await until(lambda: control_plane.of(Nack))
            assert control_plane.of(Nack) == [Nack(IDENTITY, refused, "unknown policy")]
            assert world.client.table is before
            control_plane.change()
            await world.level(control_plane)
            assert world.client.resyncs == 0

    play(runtime_dir, scene)


def test_settings_are_tried_and_not_taken_up(runtime_dir: RuntimeDir) -> None:
    async def scene(world: World) -> None:
        async with world.control_plane(1) as control_plane, world.subscribed():
            control_plane.change()
            await world.level(control_plane)
            before = list(world.tables)
            for number, policy in enumerate(("random", "new"), 1):
                trial = Trial(number, control_plane.publication.table.stamp, Settings(policy=policy))
                control_plane.tell(trial)
                await until(lambda number=number: len(control_plane.of(Tried)) == number)  # type: ignore[misc]
            assert [(tried.request_id, tried.refusal) for tried in control_plane.of(Tried)] == [
                (1, ""),
                (2, "unknown policy"),
            ]
            assert world.tables == before

    play(runtime_dir, scene)


def test_load_and_other_planes_in_flight_are_passed_on(runtime_dir: RuntimeDir) -> None:
    async def scene(world: World) -> None:
        async with world.control_plane(2) as control_plane, world.subscribed():
            await world.level(control_plane)
            report = control_plane.publication.load({"a": WorkerLoad(1.0, 2.0, 0.5, 0.1)})
            stamp = control_plane.publication.table.stamp
            past = make_table(epoch=1, version=1).stamp
            control_plane.send(TOPIC_LOAD, LoadReport(past, 99, {}))
            control_plane.send(TOPIC_LOAD, report)
            control_plane.send(TOPIC_INFLIGHT, PlaneInflight(stamp, IDENTITY.id, 1, {"a": 1}, {}))
            control_plane.send(TOPIC_INFLIGHT, PlaneInflight(stamp, "plane-b", 1, {"a": 2}, {}))
            await until(lambda: world.others)
            assert world.loads == [report]
            assert world.others == [PlaneInflight(stamp, "plane-b", 1, {"a": 2}, {})]

    play(runtime_dir, scene)


def test_what_the_policy_has_learnt_goes_up_once_and_that_of_others_comes_down(runtime_dir: RuntimeDir) -> None:
    async def scene(world: World) -> None:
        async with world.control_plane(2) as control_plane, world.subscribed():
            await world.level(control_plane)
            mine, theirs = {"a": Learnt(1, b"12345678")}, {"b": Learnt(2, b"87654321")}
            world.learnt = dict(mine)
            await until(lambda: control_plane.of(LearntReport))
            stamp = control_plane.publication.table.stamp
            control_plane.send(TOPIC_LEARNT, PlaneLearnt(stamp, IDENTITY.id, "cache_aware", mine, PLACE))
            control_plane.send(TOPIC_LEARNT, PlaneLearnt(stamp, "plane-b", "cache_aware", theirs, PLACE))
            await until(lambda: world.heard)
            assert world.heard == [PlaneLearnt(stamp, "plane-b", "cache_aware", theirs, PLACE)]
            assert control_plane.of(LearntReport) == [LearntReport(IDENTITY, "cache_aware", mine, PLACE)]

    play(runtime_dir, scene)


def test_frames_that_are_no_messages_are_counted(runtime_dir: RuntimeDir) -> None:
    async def scene(world: World) -> None:
        async with world.control_plane(1) as control_plane, world.subscribed():
            await world.level(control_plane)
            control_plane.send_raw(TOPIC_TABLE, b"\xc1")
            control_plane.send_raw(TOPIC_TABLE)
            control_plane.send_raw(TOPIC_TABLE, b"a", b"b")
            control_plane.change()
            await world.level(control_plane)
            assert world.client.malformed == 3
            assert world.client.resyncs == 0

    play(runtime_dir, scene)


def test_reports_go_up_and_the_goodbye_is_last(runtime_dir: RuntimeDir) -> None:
    async def scene(world: World) -> None:
        async with world.control_plane(1) as control_plane:
            async with world.subscribed():
                await world.level(control_plane)
                await until(lambda: control_plane.of(InflightReport))
                world.inflight["a"] = 3
                await until(lambda: control_plane.of(InflightReport)[-1].counts == {"a": 3})
                world.prefill["a"] = 700
                await until(lambda: control_plane.of(InflightReport)[-1].prefill == {"a": 700})
                world.client.report_evidence("a", 4, "bad-answer", 1, False)
                await until(lambda: control_plane.of(Evidence))
                assert control_plane.of(Evidence) == [Evidence(IDENTITY, "a", 4, "bad-answer", 1, False, 0)]
                await until(lambda: len(control_plane.of(CounterReport)) >= 2)
                # Counts that stay the same are told again with the counters only, each second.
                await until(lambda: len(control_plane.of(InflightReport)) >= 5)
                assert len(control_plane.of(InflightReport)) <= len(control_plane.of(CounterReport)) + 3
                assert control_plane.of(InflightReport)[-1].counts == {"a": 3}
                numbers = [report.seq for report in control_plane.of(InflightReport)]
                assert numbers == list(range(1, len(numbers) + 1))
            await until(lambda: control_plane.of(Goodbye) == [Goodbye(IDENTITY, {"key:k:requests": {12: 3}})])
            assert isinstance(control_plane.received[-2], CounterReport)
            sequence = [report.seq for report in control_plane.of(CounterReport)]
            assert sequence == sorted(set(sequence))

    play(runtime_dir, scene)
