"""The control plane as a process, seen from where a plane, an operator and its supervisor stand."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import httpx
import msgspec
import pytest

from controlplane.status_report import StatusReport
from shared.config import StartConfig
from shared.config_sources import Sources
from shared.messages import (
    Ack,
    Downward,
    Evidence,
    Heartbeat,
    LoadReport,
    Message,
    Nack,
    Snapshot,
    SnapshotRequest,
    TableUpdate,
    decode_downward,
    decode_table,
    encode,
)
from shared.plane_identity import PlaneIdentity
from shared.plane_report import CounterReport, CounterSeries
from shared.process import own_record
from shared.question_messages import Trial, Tried
from shared.runtime_dir import ProcessRecord, RuntimeDir, read_record, write_record
from shared.sockets import WELCOME, Context, control_client, subscriber
from shared.table import RoutingTable, Worker, apply, make_table
from tests.unit.controlplane.fake_worker import FakeWorker
from tests.unit.controlplane.waiting import until

IDENTITY = PlaneIdentity(id="0123456789abcdef", slot=0, pid=os.getpid(), version="0.1.0", started=0.0)
PATIENCE = 60.0
"""Seconds after which a state that does not come is a failure; nothing is measured with it."""


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ControlPlane:
    """A control plane's process and its runtime folder."""

    def __init__(self, runtime: RuntimeDir, config: StartConfig) -> None:
        self.runtime = runtime
        self.config = config
        runtime.config.write_bytes(msgspec.json.encode(config))

    async def start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "controlplane.process",
            str(self.runtime.path),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )

    async def get(self, port: int, path: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                try:
                    return await client.get(f"http://127.0.0.1:{port}{path}")
                except httpx.TransportError:
                    await asyncio.sleep(0.02)

    async def status(self, holds: Callable[[StatusReport], bool]) -> StatusReport:
        while True:
            answer = await self.get(self.config.admin_port, "/status")
            report = msgspec.json.decode(answer.content, type=StatusReport)
            if holds(report):
                return report
            await asyncio.sleep(0.02)


class Plane:
    """The least that a plane does: subscribe, wait for the welcome, take a snapshot, then follow."""

    def __init__(self, context: Context, runtime: RuntimeDir) -> None:
        self._updates = subscriber(context, runtime.publish_endpoint)
        self._dealer = control_client(context, runtime.control_endpoint, IDENTITY.id.encode())
        self.table: RoutingTable | None = None

    async def join(self) -> Snapshot:
        while (await self._updates.recv_multipart())[0] != WELCOME:
            pass
        await self.tell(SnapshotRequest(IDENTITY, 1))
        snapshot = decode_downward(await self._dealer.recv())
        assert isinstance(snapshot, Snapshot)
        self.table = make_table(
            epoch=snapshot.stamp.epoch,
            version=snapshot.stamp.version,
            workers=snapshot.workers,
            models=snapshot.models,
            settings=snapshot.settings,
        )
        assert self.table.stamp == snapshot.stamp
        return snapshot

    async def tell(self, message: Message) -> None:
        await self._dealer.send(encode(message))

    async def asked(self) -> Downward:
        """Take what was said to this plane alone."""
        return decode_downward(await self._dealer.recv())

    async def hear(self) -> Downward:
        """Take the next message; the table follows."""
        frames = await self._updates.recv_multipart()
        message = decode_downward(frames[1])
        table = self.table
        if isinstance(message, TableUpdate) and table is not None and message.stamp.order > table.stamp.order:
            self.table = apply(table, message.change)
            assert self.table.stamp == message.stamp
        return message

    async def until_worker(self, worker_id: str, holds: Callable[[Worker], bool]) -> Worker:
        assert self.table is not None
        while not holds(self.table.workers[worker_id]):
            await self.hear()
        return self.table.workers[worker_id]

    def close(self) -> None:
        self._updates.close()
        self._dealer.close()


@pytest.fixture
def runtime() -> Iterator[RuntimeDir]:
    # Not tmp_path: a socket's path has to be short.
    with tempfile.TemporaryDirectory() as folder:
        made = RuntimeDir(Path(folder))
        made.prepare()
        yield made


def config(*workers: FakeWorker) -> StartConfig:
    return StartConfig(
        worker_urls=tuple(worker.url for worker in workers),
        admin_port=free_port(),
        prometheus_port=free_port(),
        load_interval_ms=50,
        data_planes=1,
    )


Act = Callable[[ControlPlane, FakeWorker, Plane], Awaitable[None]]


def play(runtime: RuntimeDir, act: Act) -> None:
    async def run() -> None:
        worker = FakeWorker()
        await worker.start()
        context = Context()
        plane = Plane(context, runtime)
        try:
            async with asyncio.timeout(PATIENCE):
                await act(ControlPlane(runtime, config(worker)), worker, plane)
        finally:
            plane.close()
            context.term()
            await worker.stop()

    asyncio.run(run())


async def end(process: asyncio.subprocess.Process, number: signal.Signals = signal.SIGTERM) -> tuple[int | None, str]:
    if process.returncode is None:
        process.send_signal(number)
    _, errors = await process.communicate()
    return process.returncode, errors.decode()


def test_a_plane_follows_a_worker_through_its_life(runtime: RuntimeDir) -> None:
    async def act(control: ControlPlane, worker: FakeWorker, plane: Plane) -> None:
        process = await control.start()
        await plane.join()
        ready = await plane.until_worker(worker.url, lambda record: record.state == "ready")
        assert (ready.epoch, ready.models) == (1, ("tiny",))
        assert plane.table is not None
        assert list(plane.table.models) == ["tiny"]
        while not (isinstance(message := await plane.hear(), LoadReport) and worker.url in message.loads):
            pass

        await worker.stop()
        await plane.tell(Evidence(IDENTITY, worker.url, ready.epoch, "connect-failed", 1, False, 0))
        dead = await plane.until_worker(worker.url, lambda record: record.state == "unhealthy")
        assert dead.reason == "connection refused"

        await worker.start()
        back = await plane.until_worker(worker.url, lambda record: record.state == "ready")
        assert (back.epoch, back.models) == (2, ("tiny",))
        code, log = await end(process)
        assert code == 0
        assert f"worker {worker.url} is unhealthy (was ready): connection refused" in log

    play(runtime, act)


def test_status_and_metrics(runtime: RuntimeDir) -> None:
    async def act(control: ControlPlane, worker: FakeWorker, plane: Plane) -> None:
        write_record(runtime.supervisor, own_record())
        process = await control.start()
        snapshot = await plane.join()
        await plane.tell(Ack(IDENTITY, snapshot.stamp))
        told = CounterReport(
            plane=IDENTITY,
            seq=1,
            active=2,
            table=snapshot.stamp,
            table_age=0.0,
            stale=False,
            draining=False,
            waits_for="",
            resyncs=0,
            inflight={worker.url: 2},
            client_connections=12,
            client_connection_limit=400,
            worker_connections=7,
            kv_blocks=5,
            kv_resyncs=0,
            load_age=None,
            retry_budget=0.0,
            counters=(CounterSeries("accepted_requests", (), 7), CounterSeries("finished_requests", (), 5)),
            histograms=(),
            outcomes={},
            lacks=(),
            pairs=None,
            exemplars=(),
        )

        async def go_on_telling() -> None:
            """What a plane told once is forgotten when it is silent then."""
            for seq in count(1):
                await plane.tell(msgspec.structs.replace(told, seq=seq))
                await asyncio.sleep(0.25)

        async with asyncio.TaskGroup() as group:
            telling = group.create_task(go_on_telling())
            report = await control.status(
                lambda report: bool(report.planes and report.planes[0].inflight and report.workers[0].load is not None)
            )
            assert report.supervisor is not None
            (shown,) = report.planes
            assert (report.supervisor.pid, report.supervisor.state) == (os.getpid(), "running")
            assert report.control_plane.pid == process.pid
            assert (shown.pid, shown.state, shown.active) == (os.getpid(), "serving", 2)
            assert (report.workers[0].state, report.workers[0].inflight) == ("ready", 2)
            assert report.workers[0].version == "0.32.0"

            metrics = (await control.get(control.config.prometheus_port, "/metrics")).text
            assert "routerctl_accepted_requests_total 7.0" in metrics
            assert "routerctl_active_requests 2.0" in metrics
            assert f'routerctl_worker_inflight{{worker="{worker.url}"}} 2.0' in metrics
            assert f'routerctl_engine_running{{worker="{worker.url}"}} 0.0' in metrics
            assert 'routerctl_plane_table_version{plane="0"}' in metrics
            telling.cancel()
        assert (await end(process))[0] == 0

    play(runtime, act)


def test_a_successor_goes_on_where_a_killed_control_plane_stopped(runtime: RuntimeDir) -> None:
    async def act(control: ControlPlane, worker: FakeWorker, plane: Plane) -> None:
        first = await control.start()
        await plane.join()
        await plane.until_worker(
            worker.url, lambda record: record.state == "ready" and record.process_start is not None
        )
        assert plane.table is not None
        before = plane.table
        await until(lambda: runtime.table.exists() and decode_table(runtime.table.read_bytes()) == before)
        await end(first, signal.SIGKILL)

        second = await control.start()
        snapshot = await plane.join()
        assert snapshot.stamp.epoch > before.stamp.epoch
        assert snapshot.workers == tuple(before.workers.values())
        assert snapshot.models == tuple(before.models.values())
        assert (await end(second))[0] == 0

    play(runtime, act)


def test_ended_by_a_signal_it_leaves_only_what_its_successor_needs(runtime: RuntimeDir) -> None:
    async def act(control: ControlPlane, _worker: FakeWorker, plane: Plane) -> None:
        process = await control.start()
        await plane.join()
        record = read_record(runtime.control_plane, ProcessRecord)
        assert record is not None
        assert record.pid == process.pid
        assert (await end(process, signal.SIGINT))[0] == 0
        # Events and the rows of reports are kept, if there were any yet.
        kept = {runtime.events("control plane").name, "history.jsonl", "history-sums.msgpack"}
        left = {path.name for path in runtime.path.iterdir()} - kept
        assert left == {"config.json", "control-plane.lock", "epoch", "planes", "table.msgpack", "totals.msgpack"}

    play(runtime, act)


# With planes that serve it is in tests/faults/test_control_plane_gone.py: it takes the second one 5 s to give up.
@pytest.mark.slow
def test_a_second_control_plane_on_the_folder_harms_nothing(runtime: RuntimeDir) -> None:
    async def act(control: ControlPlane, worker: FakeWorker, plane: Plane) -> None:
        first = await control.start()
        await plane.join()
        second = await control.start()
        _, errors = await second.communicate()
        assert second.returncode == 1
        assert "another control plane runs" in errors.decode()
        await plane.until_worker(worker.url, lambda record: record.state == "ready")
        assert plane.table is not None
        report = await control.status(lambda report: True)
        assert report.control_plane.table.epoch == plane.table.stamp.epoch
        assert (await end(first))[0] == 0

    play(runtime, act)


def test_a_taken_port_ends_the_first_start_in_one_line(runtime: RuntimeDir) -> None:
    async def act(control: ControlPlane, _worker: FakeWorker, _plane: Plane) -> None:
        with closing(socket.create_server(("127.0.0.1", control.config.admin_port))):
            process = await control.start()
            _, errors = await process.communicate()
        assert process.returncode == 2
        assert errors.decode().splitlines()[-1].startswith("routerctl: can not listen on 127.0.0.1:")
        assert "Traceback" not in errors.decode()

    play(runtime, act)


def test_a_taken_port_does_not_end_a_restart(runtime: RuntimeDir) -> None:
    async def act(control: ControlPlane, worker: FakeWorker, plane: Plane) -> None:
        write_record(runtime.supervisor, own_record())
        first = await control.start()
        await control.status(lambda report: report.workers[0].state == "ready")
        await end(first, signal.SIGKILL)
        with closing(socket.create_server(("127.0.0.1", control.config.admin_port))):
            second = await control.start()
            assert second.stderr is not None
            while b"still trying" not in (line := await second.stderr.readline()):
                assert line
            await plane.join()
        await control.status(lambda report: report.control_plane.pid == second.pid)
        assert (await end(second))[0] == 0

    play(runtime, act)


def test_a_configuration_that_can_not_be_read_is_told_in_one_line(runtime: RuntimeDir) -> None:
    async def act(control: ControlPlane, _worker: FakeWorker, _plane: Plane) -> None:
        runtime.config.write_text('{"port": "many"}')
        process = await control.start()
        _, errors = await process.communicate()
        assert process.returncode == 2
        assert len(errors.decode().splitlines()) == 1

    play(runtime, act)


def write_sources(control: ControlPlane, worker: FakeWorker, text: str) -> None:
    """Have a reload find a file with this text."""
    file = control.runtime.path / "r.toml"
    file.write_text(text)
    flags: dict[str, str | list[str]] = {
        "worker_urls": [worker.url],
        "admin_port": str(control.config.admin_port),
        "prometheus_port": str(control.config.prometheus_port),
        "load_interval_ms": "50",
        "data_planes": "1",
    }
    write_record(control.runtime.sources, Sources(flags=flags, environment={}, file=str(file)))


def test_g_cp_4_a_plane_that_says_no_to_a_trial_stops_the_reload(runtime: RuntimeDir) -> None:
    async def act(control: ControlPlane, worker: FakeWorker, plane: Plane) -> None:
        write_sources(control, worker, "request_timeout_secs = 5")
        process = await control.start()
        await plane.join()
        await plane.until_worker(worker.url, lambda record: record.state == "ready")
        assert plane.table is not None
        await plane.tell(Ack(IDENTITY, plane.table.stamp))
        await control.status(lambda report: bool(report.planes))

        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            reload = asyncio.create_task(client.post(f"http://127.0.0.1:{control.config.admin_port}/reload"))
            trial = await plane.asked()
            assert isinstance(trial, Trial)
            assert trial.settings.request_timeout == 5.0
            await plane.tell(Tried(IDENTITY, trial.request_id, "not with me"))
            answer = await reload
        assert (answer.status_code, answer.json()["problems"]) == (409, ["plane 0 refuses it: not with me"])
        while not isinstance(await plane.hear(), Heartbeat):
            pass
        assert plane.table.settings.request_timeout == 1800.0
        code, _ = await end(process)
        assert code == 0

    play(runtime, act)


def test_a_plane_that_refuses_reloaded_settings_has_them_taken_back(runtime: RuntimeDir) -> None:
    async def act(control: ControlPlane, worker: FakeWorker, plane: Plane) -> None:
        write_sources(control, worker, "request_timeout_secs = 5")
        before = runtime.config.read_bytes()
        process = await control.start()
        await plane.join()
        await plane.until_worker(worker.url, lambda record: record.state == "ready")
        assert plane.table is not None
        await plane.tell(Ack(IDENTITY, plane.table.stamp))
        await control.status(lambda report: bool(report.planes))

        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            reload = asyncio.create_task(client.post(f"http://127.0.0.1:{control.config.admin_port}/reload"))
            trial = await plane.asked()
            assert isinstance(trial, Trial)
            await plane.tell(Tried(IDENTITY, trial.request_id, ""))
            while plane.table.settings.request_timeout != 5.0:
                await plane.hear()
            await plane.tell(Nack(IDENTITY, plane.table.stamp, "not with me"))
            while plane.table.settings.request_timeout != 1800.0:
                await plane.hear()
            await plane.tell(Ack(IDENTITY, plane.table.stamp))
            answer = await reload
        assert answer.status_code == 409
        assert answer.json()["problems"] == ["plane 0 refuses it: not with me"]
        assert runtime.config.read_bytes() == before
        code, log = await end(process)
        assert code == 0
        assert "reload refused, nothing has changed: plane 0 refuses it: not with me" in log

    play(runtime, act)
