import msgspec
import pytest
from msgspec.structs import replace

from controlplane.figures.monitor import summary
from controlplane.figures.traffic import Figures
from controlplane.planes import SILENT_AFTER, Planes
from controlplane.registry import Member
from controlplane.status_builder import build_report
from controlplane.status_report import PlaneState, StatusReport
from controlplane.supervision import HUNG_AFTER
from shared.messages import Ack, Nack, WorkerLoad
from shared.runtime_dir import ProcessRecord, SupervisorRecord
from shared.table import Worker, make_table
from tests.unit.controlplane.reports import STAMP, identity, report

OWN = ProcessRecord(pid=5, start_ticks=1, version="0.1.0", started=990.0)
SUPERVISOR = SupervisorRecord(pid=4, start_ticks=1, version="0.1.0", started=990.0)
WORKER = Worker(id="http://a", url="http://a", state="ready", since=900.0, models=("m",), epoch=2)


def build(
    planes: Planes,
    *,
    supervisor: SupervisorRecord | None = None,
    supervisor_runs: bool = False,
    silent: frozenset[str] = frozenset(),
    ended: frozenset[str] = frozenset(),
    worker: Worker = WORKER,
    held: str = "",
    now: float = 10.0,
    wall: float = 1000.0,
) -> StatusReport:
    return build_report(
        supervisor=supervisor,
        supervisor_runs=supervisor_runs,
        own=OWN,
        table=make_table(epoch=8, version=3, workers=[WORKER]),
        members=(Member(worker, {}, "0.32.0", {}),),
        planes=planes,
        data_planes=1,
        loads={"http://a": WorkerLoad(1.0, 2.0, 0.3, 0.45678)},
        silent=silent,
        ended=ended,
        held={worker.id: held},
        malformed=0,
        now=now,
        wall=wall,
    )


def test_the_whole_answer_survives_json() -> None:
    planes = Planes()
    planes.counters(report(identity(started=950.0), active=3, inflight={"http://a": 2}), 9.0)
    planes.acked(Ack(identity(started=950.0), STAMP), 9.5)
    status = build(planes, supervisor=SUPERVISOR)
    assert msgspec.json.decode(msgspec.json.encode(status), type=StatusReport) == status
    assert status.supervisor is not None
    assert (status.supervisor.pid, status.supervisor.state, status.supervisor.age) == (4, "gone", 10.0)
    assert (status.control_plane.table.epoch, status.control_plane.table.version) == (8, 3)
    (plane,) = status.planes
    assert (plane.state, plane.active, plane.inflight, plane.resyncs) == ("serving", 3, 2, 2)
    assert (plane.client_connections, plane.client_connection_limit) == (12, 400)
    assert (plane.age, plane.heard_age, plane.table_age) == (50.0, 0.5, 1.5)
    assert plane.table is not None
    assert plane.table.hash == "000000000000004d"
    (worker,) = status.workers
    assert (worker.state, worker.version, worker.epoch, worker.age) == ("ready", "0.32.0", 2, 100.0)
    assert worker.inflight == 2
    assert worker.load is not None
    assert worker.load.age == 0.457


def test_a_ready_worker_that_tells_no_figures_any_more_is_doubted() -> None:
    assert build(Planes()).workers[0].reason == ""
    silent = frozenset(["http://a"])
    assert build(Planes(), silent=silent).workers[0].reason == "it tells no figures (/metrics) any more"
    assert build(Planes(), silent=silent, wall=905.0).workers[0].reason == "", "it is ready for 5 s: none was due"


@pytest.mark.parametrize(
    ("is_stopping", "runs", "state"), [(False, True, "running"), (True, True, "stopping"), (True, False, "gone")]
)
def test_a_router_that_stops_says_so(is_stopping: bool, runs: bool, state: str) -> None:
    record = msgspec.structs.replace(SUPERVISOR, is_stopping=is_stopping)
    status = build(Planes(), supervisor=record, supervisor_runs=runs)
    assert status.supervisor is not None
    assert status.supervisor.state == state


def test_no_supervisor_and_no_plane() -> None:
    status = build(Planes())
    assert status.supervisor is None
    assert status.planes == ()


@pytest.mark.parametrize(
    ("acks", "nacks", "stale", "silence", "state"),
    [
        (False, False, False, 0.0, "starting"),
        (True, False, False, 0.0, "serving"),
        (True, True, False, 0.0, "refusing"),
        (True, False, True, 0.0, "stale"),
        (True, False, False, SILENT_AFTER + 0.1, "silent"),
        (True, False, False, HUNG_AFTER + 0.1, "hung"),
    ],
)
def test_the_state_of_a_plane(acks: bool, nacks: bool, stale: bool, silence: float, state: PlaneState) -> None:
    planes = Planes()
    planes.counters(report(identity(), stale=stale), 0.0)
    if acks:
        planes.acked(Ack(identity(), STAMP), 0.0)
    if nacks:
        planes.refused(Nack(identity(), STAMP, "no"), 0.0)
    assert build(planes, now=silence).planes[0].state == state


def test_a_plane_that_waits_for_a_file_is_starting_and_says_why() -> None:
    planes = Planes()
    planes.acked(Ack(identity(), STAMP), 0.0)
    assert planes.counters(report(identity(), waits_for="no key"), 0.0)
    assert not planes.counters(report(identity(), waits_for="no key"), 1.0)
    (plane,) = build(planes, now=1.0).planes
    assert (plane.state, plane.waits_for) == ("starting", "no key")
    assert planes.counters(report(identity()), 2.0)
    (plane,) = build(planes, now=2.0).planes
    assert (plane.state, plane.waits_for) == ("serving", "")


def test_a_plane_whose_process_is_dead_does_not_serve_beside_its_successor() -> None:
    planes = Planes()
    for name, started in (("old", 1.0), ("new", 2.0)):
        plane = identity(name, started=started)
        planes.acked(Ack(plane, STAMP), 9.0)
        planes.counters(report(plane, active=3, inflight={"http://a": 2}), 9.5)
    status = build(planes, ended=frozenset({"old"}))
    assert [(one.id, one.state, one.active, one.inflight) for one in status.planes] == [
        ("old", "gone", 0, 0),
        ("new", "serving", 3, 2),
    ]
    assert status.workers[0].inflight == 2
    told = summary(status, Figures())
    assert (told.planes, told.data_planes, told.active) == (1, 1, 3)


def test_a_plane_that_drains() -> None:
    planes = Planes()
    planes.counters(msgspec.structs.replace(report(identity()), draining=True), 0.0)
    (plane,) = build(planes, now=0.0).planes
    assert plane.state == "draining"


def test_for_whom_a_drain_waits_stands_in_the_workers_reason() -> None:
    worker = replace(WORKER, state="draining", reason="drained by an operator")
    (told,) = build(Planes(), worker=worker, held="plane 1 (pid 3) is silent").workers
    assert told.reason == "drained by an operator; plane 1 (pid 3) is silent"
    (told,) = build(Planes(), worker=worker).workers
    assert told.reason == "drained by an operator"
