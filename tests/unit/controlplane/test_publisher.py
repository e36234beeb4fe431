import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import zmq
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controlplane.load_page import EngineLoad
from controlplane.loads import Loads
from controlplane.planes import Planes
from controlplane.publication import Publication
from controlplane.publisher import ECHO_INTERVAL, ECHO_TIME, Publisher, beat_due, beat_pause
from shared.clock import SystemClock
from shared.kv_messages import KvPage, KvRequest, KvSourceState, KvStanding
from shared.messages import (
    HEARTBEAT_INTERVAL,
    Ack,
    ControlStatus,
    ControlStatusRequest,
    Downward,
    Evidence,
    FleetAnswer,
    FleetCommand,
    FleetVerb,
    Goodbye,
    Heartbeat,
    InflightReport,
    Learnt,
    LearntReport,
    LoadReport,
    Message,
    Nack,
    PlaneInflight,
    PlaneLearnt,
    ProbeNews,
    Snapshot,
    SnapshotRequest,
    TableUpdate,
    decode_downward,
    encode,
)
from shared.plane_identity import PlaneIdentity
from shared.policy_places import PolicyPlace
from shared.question_messages import Trial, Tried
from shared.runtime_dir import RuntimeDir
from shared.sockets import WELCOME, Context, control_client, subscriber
from shared.table import ModelCard, RoutingTable, Settings, Stamp, Worker, apply
from shared.worker_attributes import NOTHING_SAID, WorkerAttributes
from tests.unit.controlplane.reports import identity, report
from tests.unit.controlplane.waiting import until

PLACE = PolicyPlace("prefill", "m")
WORKER = Worker(id="a", url="http://a", state="ready")


class Control:
    """Stands where the control plane does: gives the content and notes what it is told."""

    def __init__(self) -> None:
        self.workers: tuple[Worker, ...] = ()
        self.tables: list[RoutingTable] = []
        self.complaints: list[Evidence] = []
        self.probes: list[ProbeNews] = []
        self.losses = 0

    def content(self) -> tuple[tuple[Worker, ...], tuple[ModelCard, ...], Settings]:
        return self.workers, (), Settings()

    def published(self, table: RoutingTable) -> None:
        self.tables.append(table)

    def evidence(self, evidence: Evidence) -> None:
        self.complaints.append(evidence)

    def probe(self, news: ProbeNews) -> None:
        self.probes.append(news)

    def gone(self) -> None:
        self.losses += 1

    def is_dead(self, plane: PlaneIdentity) -> bool:
        return False

    async def command(self, verb: FleetVerb, url: str, said: WorkerAttributes) -> tuple[str, str]:
        return ("worker_exists", f"{verb} {url} {said}") if verb == "add" else ("", "")


def kv_pages(request: KvRequest) -> tuple[KvPage, ...]:
    state = KvSourceState(request.worker, request.rank, 1, 1, 16, 0)
    return tuple(KvPage(request.request_id, Stamp(7, 1, 0), state, page, 2, b"", b"") for page in range(2))


class Scene:
    def __init__(self, context: Context, folder: str) -> None:
        self.control = Control()
        self.publication = Publication(7, Settings())
        self.planes = Planes()
        self.loads = Loads()
        runtime = RuntimeDir(Path(folder))
        self.publisher = Publisher(
            context, runtime, self.publication, self.planes, self.loads, self.control, SystemClock(), kv_pages=kv_pages
        )
        self.updates = subscriber(context, runtime.publish_endpoint)
        self.dealer = control_client(context, runtime.control_endpoint, b"p")

    async def welcome(self) -> None:
        while (await self.updates.recv_multipart())[0] != WELCOME:
            pass

    async def heard(self, kind: type[Downward]) -> Downward:
        while True:
            frames = await self.updates.recv_multipart()
            if len(frames) == 2 and isinstance(message := decode_downward(frames[1]), kind):
                return message

    async def tell(self, message: Message) -> None:
        await self.dealer.send(encode(message))

    async def ask(self, message: Message) -> Downward:
        await self.tell(message)
        return decode_downward(await self.dealer.recv())

    def close(self) -> None:
        for socket in (self.updates, self.dealer):
            socket.close()
        self.publisher.close()


def play(act: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        context = Context()
        with tempfile.TemporaryDirectory() as folder:
            scene = Scene(context, folder)
            try:
                async with asyncio.timeout(30), asyncio.TaskGroup() as group:
                    task = group.create_task(scene.publisher.run())
                    await scene.welcome()
                    await act(scene)
                    task.cancel()
            finally:
                scene.close()
                context.destroy(linger=0)

    asyncio.run(run())


def test_a_plane_that_asks_for_a_cache_gets_every_page() -> None:
    async def act(scene: Scene) -> None:
        first = await scene.ask(KvRequest(5, "w", 1))
        second = decode_downward(await scene.dealer.recv())
        pages = [page for page in (first, second) if isinstance(page, KvPage)]
        assert [(page.request_id, page.page, page.state.worker, page.state.rank) for page in pages] == [
            (5, 0, "w", 1),
            (5, 1, "w", 1),
        ]

    play(act)


def test_planes_are_told_of_caches() -> None:
    async def act(scene: Scene) -> None:
        standing = KvStanding(scene.publisher.stamp, ())
        scene.publisher.tell(standing)
        assert await scene.heard(KvStanding) == standing

    play(act)


def test_a_plane_is_welcomed_gets_a_snapshot_and_then_every_change() -> None:
    async def act(scene: Scene) -> None:
        snapshot = await scene.ask(SnapshotRequest(identity(), 5))
        assert snapshot == Snapshot(5, scene.publication.table.stamp, (), (), Settings())
        before = scene.publication.table
        scene.control.workers = (WORKER,)
        scene.publisher.changed()
        update = await scene.heard(TableUpdate)
        assert isinstance(update, TableUpdate)
        assert apply(before, update.change) == scene.publication.table
        assert scene.control.tables == [scene.publication.table]

    play(act)


def test_a_burst_of_changes_is_one_version_and_no_change_is_none() -> None:
    async def act(scene: Scene) -> None:
        scene.publisher.changed()
        scene.control.workers = (WORKER,)
        for _ in range(100):
            scene.publisher.changed()
        update = await scene.heard(TableUpdate)
        assert isinstance(update, TableUpdate)
        assert update.stamp.version == 2
        scene.publisher.changed()
        await scene.heard(Heartbeat)
        await scene.heard(Heartbeat)
        assert scene.publication.table.stamp.version == 2

    play(act)


def test_g_cp_3_heartbeats_are_many_after_a_change() -> None:
    now = echoes = 0.0
    while now < ECHO_TIME:
        now += beat_pause(now)
        echoes += 1
    # Half of the frames lost: one change in 100,000 is not heard of in time, or less.
    assert 0.5**echoes < 1e-5
    assert beat_pause(now + 1) == HEARTBEAT_INTERVAL


@settings(max_examples=100)
@given(st.lists(st.floats(0.0, 5.0), max_size=60).map(sorted), st.floats(-2.0, 5.0))
@example([1.21875], 1.21875)
def test_g_cp_3_planes_hear_something_as_often_whatever_else_they_are_told(others: list[float], changed: float) -> None:
    now, heard = 0.0, [0.0]
    while now < 5.0:
        due = beat_due(heard[-1], changed if changed <= now else float("-inf"), now)
        came = [one for one in others if now < one <= now + due]
        if due <= 0:
            heard.append(now)
        heard += came
        now += max(0.0, due)
    gaps = [(before, after - before) for before, after in pairwise(heard)]
    assert all(gap <= HEARTBEAT_INTERVAL + 1e-9 for _, gap in gaps)
    # What waits for the next heartbeat when the table changes waits on.
    echoing = [gap for at, gap in gaps if changed + HEARTBEAT_INTERVAL <= at <= changed + ECHO_TIME - ECHO_INTERVAL]
    assert all(gap <= ECHO_INTERVAL + 1e-9 for gap in echoing)


def test_a_heartbeat_is_due_only_when_planes_were_told_nothing_else() -> None:
    long_ago = float("-inf")
    assert beat_due(long_ago, long_ago, 100.0) <= 0
    assert beat_due(99.9, long_ago, 100.0) == pytest.approx(HEARTBEAT_INTERVAL - 0.1)
    assert beat_due(99.0, long_ago, 100.0) < 0
    assert beat_due(99.98, 99.9, 100.0) == pytest.approx(ECHO_INTERVAL - 0.02)


def test_heartbeats_carry_the_stamp() -> None:
    async def act(scene: Scene) -> None:
        assert await scene.heard(Heartbeat) == Heartbeat(scene.publication.table.stamp)

    play(act)


def test_loads_are_published_with_their_age() -> None:
    async def act(scene: Scene) -> None:
        scene.control.workers = (WORKER,)
        scene.publisher.changed()
        await scene.heard(TableUpdate)
        scene.loads.note(WORKER, EngineLoad(1.0, 2.0, 0.5), measured=SystemClock().monotonic() - 1.0, inflight=3)
        scene.publisher.loaded()
        report = await scene.heard(LoadReport)
        assert isinstance(report, LoadReport)
        assert report.seq == 1
        assert (report.loads["a"].running, report.loads["a"].waiting, report.loads["a"].kv_usage) == (1.0, 2.0, 0.5)
        assert report.loads["a"].age >= 1.0

    play(act)


def test_loads_that_come_one_after_the_other_are_told_in_one_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.publisher.LOAD_GATHERING", 0.3)

    async def act(scene: Scene) -> None:
        other = Worker(id="b", url="http://b", state="ready")
        scene.control.workers = (WORKER, other)
        scene.publisher.changed()
        await scene.heard(TableUpdate)
        for worker in (WORKER, other):
            now = SystemClock().monotonic()
            scene.loads.note(worker, EngineLoad(1.0, 2.0, 0.5), measured=now, inflight=3)
            scene.publisher.loaded()
            for _ in range(10):
                await asyncio.sleep(0)
        report = await scene.heard(LoadReport)
        assert isinstance(report, LoadReport)
        assert report.loads.keys() == {"a", "b"}

    play(act)


def test_in_flight_reports_reach_the_others_and_a_plane_that_leaves_has_none() -> None:
    async def act(scene: Scene) -> None:
        stamp = scene.publication.table.stamp
        # As long as it is alone there is nobody to tell.
        await scene.tell(InflightReport(identity(), 2, {"a": 1}, {}, 0))
        await scene.tell(Ack(msgspec.structs.replace(identity(), id="other", slot=1), stamp))
        await scene.tell(InflightReport(identity(), 3, {"a": 2}, {}, 0))
        assert await scene.heard(PlaneInflight) == PlaneInflight(stamp, "p", 3, {"a": 2}, {})
        await scene.tell(Goodbye(identity(), {}))
        assert await scene.heard(PlaneInflight) == PlaneInflight(stamp, "p", 4, {}, {})
        assert [plane.identity.id for plane in scene.planes.present()] == ["other"]

    play(act)


def test_what_a_planes_policy_has_learnt_reaches_the_others() -> None:
    async def act(scene: Scene) -> None:
        stamp = scene.publication.table.stamp
        learnt = {"a": Learnt(1, b"12345678")}
        # As long as it is alone there is nobody to tell.
        await scene.tell(LearntReport(identity(), "cache_aware", {}, PLACE))
        await scene.tell(Ack(msgspec.structs.replace(identity(), id="other", slot=1), stamp))
        await scene.tell(LearntReport(identity(), "cache_aware", learnt, PLACE))
        assert await scene.heard(PlaneLearnt) == PlaneLearnt(stamp, "p", "cache_aware", learnt, PLACE)

    play(act)


def test_a_planes_commands_are_answered_each_by_its_number() -> None:
    async def act(scene: Scene) -> None:
        stamp = scene.publication.table.stamp
        said = WorkerAttributes(priority=7)
        added = await scene.ask(FleetCommand(identity(), 4, "add", "http://b:1", said))
        assert added == FleetAnswer(4, stamp, "worker_exists", f"add http://b:1 {said}")
        removed = await scene.ask(FleetCommand(identity(), 5, "remove", "http://b:1", NOTHING_SAID))
        assert removed == FleetAnswer(5, stamp, "", "")

    play(act)


def test_a_plane_says_whether_it_could_serve_by_settings_and_silence_is_not_waited_for_long() -> None:
    async def act(scene: Scene) -> None:
        # The router of messages knows a plane once it has said something.
        await scene.ask(SnapshotRequest(identity(), 5))
        for refusal in ("", "not with me"):
            asked = asyncio.create_task(scene.publisher.questions.trial("p", Settings(policy="random"), 30.0))
            trial = decode_downward(await scene.dealer.recv())
            assert isinstance(trial, Trial)
            assert (trial.stamp, trial.settings.policy) == (scene.publication.table.stamp, "random")
            await scene.tell(Tried(identity(), trial.request_id + 1, "of no trial"))
            await scene.tell(Tried(identity(), trial.request_id, refusal))
            await scene.tell(Tried(identity(), trial.request_id, "once more"))
            assert await asked == refusal
        assert await scene.publisher.questions.trial("p", Settings(), 0.01) is None
        assert await scene.publisher.questions.trial("nobody", Settings(), 0.01) is None
        assert scene.publication.table.settings == Settings()

    play(act)


def test_a_change_is_served_once_every_plane_has_acknowledged_it() -> None:
    async def act(scene: Scene) -> None:
        await scene.tell(Ack(identity(), scene.publication.table.stamp))
        await until(lambda: bool(scene.planes.present()))
        scene.control.workers = (WORKER,)
        order = scene.publisher.publish()
        assert not await scene.publisher.served(order, 0.01)
        waiting = asyncio.create_task(scene.publisher.served(order, 30.0))
        await scene.tell(Ack(identity(), scene.publication.table.stamp))
        assert await waiting

    play(act)


def test_acks_refusals_and_evidence_are_taken_in() -> None:
    async def act(scene: Scene) -> None:
        stamp = scene.publication.table.stamp
        await scene.tell(Ack(identity(), stamp))
        status = await scene.ask(ControlStatusRequest())
        assert isinstance(status, ControlStatus)
        assert (status.stamp, status.workers) == (stamp, 0)
        assert scene.planes.present()[0].acked == stamp
        await scene.tell(Nack(identity(), stamp, "no room"))
        await scene.tell(Evidence(identity(), "a", 1, "connect-failed", 1, False, 0))
        await until(lambda: bool(scene.control.complaints))
        assert scene.planes.present()[0].nack == "no room"
        assert scene.control.complaints == [Evidence(identity(), "a", 1, "connect-failed", 1, False, 0)]

    play(act)


def test_a_plane_that_takes_no_clients_for_want_of_a_file_makes_an_event(caplog: pytest.LogCaptureFixture) -> None:
    async def act(scene: Scene) -> None:
        plane = identity()
        for waits_for in ("no key", "no key", ""):
            await scene.tell(report(plane, waits_for=waits_for))
        await until(lambda: "has the files" in caplog.text)

    caplog.set_level("INFO")
    play(act)
    told = [record.getMessage() for record in caplog.records if hasattr(record, "about")]
    assert told == ["plane 0 takes no clients: no key", "plane 0 has the files that it needs"]


def test_what_is_no_message_is_counted_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    async def act(scene: Scene) -> None:
        for number in range(200):
            await scene.dealer.send_multipart([b"noise"] * (number % 3 + 1))
        # A message of the other direction is none here either.
        await scene.tell(Heartbeat(scene.publication.table.stamp))
        await scene.ask(ControlStatusRequest())
        assert scene.publisher.malformed == 201

    play(act)
    assert 1 <= len([record for record in caplog.records if "is none" in record.message]) < 20


def test_a_reader_that_does_not_read_holds_nobody_up() -> None:
    async def act(scene: Scene) -> None:
        scene.updates.setsockopt(zmq.RCVHWM, 1)
        for seq in range(3000):
            await scene.tell(InflightReport(identity(), seq, {"a": seq}, {}, 0))
        status = await scene.ask(ControlStatusRequest())
        assert isinstance(status, ControlStatus)

    play(act)
