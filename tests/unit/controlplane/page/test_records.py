"""What the page is told of the status: the same as long as nothing changes but the time."""

from __future__ import annotations

import asyncio
import json
from math import isnan
from typing import Any

import msgspec

from controlplane.figures.traffic import Figures
from controlplane.kubernetes.status import KubernetesStatus
from controlplane.page.records import Records, moment_of
from controlplane.planes import Planes
from controlplane.status_builder import build_report
from controlplane.status_report import StatusReport
from shared.messages import LOAD_UNKNOWN_AFTER, Ack, WorkerLoad
from shared.runtime_dir import ProcessRecord
from shared.table import make_table
from tests.unit.controlplane.members import A, Setting
from tests.unit.controlplane.reports import STAMP, identity, report

OWN = ProcessRecord(pid=1, start_ticks=1, version="x", started=0.0)


def status(
    setting: Setting, wall: float, *, load_age: float = 0.2, pods: KubernetesStatus | None = None
) -> StatusReport:
    planes = Planes()
    planes.acked(Ack(identity(), STAMP), wall)
    planes.counters(report(identity(), active=3), wall)
    return build_report(
        supervisor=None,
        supervisor_runs=False,
        own=OWN,
        table=make_table(epoch=1, version=2),
        members=setting.registry.members(),
        planes=planes,
        loads={A: WorkerLoad(2.0, 1.0, 0.5, load_age)},
        data_planes=1,
        malformed=0,
        now=wall,
        wall=wall,
        kubernetes=pods,
    )


def told(records: Records, seen: StatusReport, wall: float) -> dict[str, Any]:
    return {key: json.loads(record) for key, record in records.of(seen, Figures(), wall)}


def test_time_alone_changes_no_record() -> None:
    setting, records = Setting(A), Records()
    first = told(records, status(setting, 2_000_000_100.0), 2_000_000_100.0)
    assert set(first) == {"router", "plane:p", f"worker:{A}"}
    assert first[f"worker:{A}"]["load_is_old"] is False
    # Clocks are read to a millisecond, and set by a few.
    assert told(records, status(setting, 2_000_000_107.0, load_age=0.4), 2_000_000_107.02) == first


def test_time_since_the_api_server_told_of_pods_is_no_change_either() -> None:
    setting, records = Setting(A), Records()
    first, second = (
        told(records, status(setting, wall, pods=KubernetesStatus(state="unreached", age=age, reason="refused")), wall)
        for wall, age in ((2_000_000_100.0, 3.0), (2_000_000_107.0, 10.0))
    )
    assert first["router"]["kubernetes"] == second["router"]["kubernetes"]
    assert first["router"]["kubernetes"]["reason"] == "refused"


def test_a_change_does() -> None:
    setting, records = Setting(A), Records()
    first = told(records, status(setting, 2_000_000_100.0), 2_000_000_100.0)
    asyncio.run(setting.membership.drain(A))
    second = told(records, status(setting, 2_000_000_101.0, load_age=LOAD_UNKNOWN_AFTER), 2_000_000_101.0)
    assert second["router"] == first["router"]
    assert second[f"worker:{A}"]["worker"]["state"] == "draining"
    assert second[f"worker:{A}"]["load_is_old"] is True


def test_figures_that_are_not_believed_are_in_no_history() -> None:
    (worker,) = status(Setting(A), 1.0).workers
    assert moment_of(worker)[:4] == (0, 2.0, 1.0, 0.5)
    assert worker.load is not None
    old = msgspec.structs.replace(worker, load=msgspec.structs.replace(worker.load, age=LOAD_UNKNOWN_AFTER))
    assert moment_of(old).inflight == 0
    assert all(isnan(value) for value in moment_of(old)[1:])
