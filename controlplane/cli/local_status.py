"""What can be told of a router without its control plane: from the runtime folder and from the planes themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from controlplane.cli.pairs_view import PairView
from controlplane.cli.policies_view import PolicyView
from controlplane.cli.status_view import (
    BreakerView,
    PlaneView,
    ProcessView,
    RouterView,
    TableView,
    UplinkView,
    WorkerView,
)
from controlplane.inquiry import control_status, plane_status
from controlplane.pairs import pair_status
from controlplane.policy_status import policy_statuses
from shared.clock import Clock, SystemClock
from shared.config import StartConfig
from shared.messages import MessageError, PlaneStatus, decode_table
from shared.process import is_alive, living_planes
from shared.runtime_dir import PlaneRecord, ProcessRecord, RuntimeDir, SupervisorRecord, read_record
from shared.sockets import Context
from shared.table import RoutingTable, Stamp, Worker
from shared.uplink import Uplink

ASK_TIMEOUT = 1.0
"""Seconds: a plane that takes longer to say how it is has trouble worth showing as `silent`."""


def folder_status(runtime: RuntimeDir) -> RouterView | None:
    """Return the same from outside an event loop. Raises RuntimeDirError when this user may not look into it."""
    runtime.check_readable()
    return asyncio.run(local_status(runtime, SystemClock()))


async def local_status(runtime: RuntimeDir, clock: Clock) -> RouterView | None:
    """Return what the folder and the planes know; None when nothing of a router runs there."""
    planes = living_planes(runtime)
    supervisor_record = read_record(runtime.supervisor, SupervisorRecord)
    supervisor = _process(supervisor_record, clock, otherwise="gone")
    if supervisor.pid is not None and supervisor_record is not None and supervisor_record.is_stopping:
        supervisor.state = "stopping"
    control_plane = _process(read_record(runtime.control_plane, ProcessRecord), clock, otherwise="down")
    if not planes and supervisor.pid is None and control_plane.pid is None:
        return None
    context = Context()
    try:
        statuses, control = await asyncio.gather(
            asyncio.gather(*(plane_status(context, runtime, p.identity.id, timeout=ASK_TIMEOUT) for p in planes)),
            control_status(context, runtime, timeout=ASK_TIMEOUT),
        )
    finally:
        context.destroy(linger=0)
    uplink = read_record(runtime.uplink, Uplink)
    if control_plane.pid is not None and control is None:
        control_plane.state = "silent"
    elif control_plane.pid is None and uplink is not None:
        control_plane.state = "on another host"
    config = read_record(runtime.config, StartConfig)
    table = _table_kept(runtime)
    views = [_plane(record, status, clock) for record, status in zip(planes, statuses, strict=True)]
    return RouterView(
        supervisor=supervisor,
        control_plane=control_plane,
        planes=sorted(views, key=lambda view: (view.slot, view.id)),
        workers=_workers(table, clock) if table is not None else [],
        data_planes=config.data_planes if config is not None else 0,
        policies=_policies(table, statuses) if table is not None else (),
        pairs=_pairs(statuses),
        uplink=msgspec.UNSET if uplink is None or control_plane.pid is not None else uplink_view(uplink, statuses),
    )


def uplink_view(uplink: Uplink, statuses: Iterable[PlaneStatus | None]) -> UplinkView:
    """Return whether any of the planes hears the control plane, and how long ago one did."""
    told = [status for status in statuses if status is not None]
    ages = [status.heard_age for status in told if status.heard_age is not None]
    return UplinkView(
        address=str(uplink.address),
        reached=any(not status.stale for status in told),
        heard_age=min(ages, default=None),
    )


def _process(record: ProcessRecord | None, clock: Clock, *, otherwise: str) -> ProcessView:
    if record is None or not is_alive(record):
        return ProcessView(state=otherwise)
    age = clock.wall() - record.started
    return ProcessView(pid=record.pid, state="running", version=record.version, wire=record.wire, age=age)


def _plane(record: PlaneRecord, status: PlaneStatus | None, clock: Clock) -> PlaneView:
    view = PlaneView(
        id=record.identity.id,
        slot=record.identity.slot,
        pid=record.process.pid,
        state=_plane_state(status),
        version=record.process.version,
        wire=record.identity.wire,
        age=clock.wall() - record.process.started,
    )
    if status is not None:
        view.table = _table(status.table)
        view.table_age = status.table_age
        view.ready_workers = status.ready_workers
        view.active = status.active
        view.client_connections = status.client_connections
        view.client_connection_limit = status.client_connection_limit
        view.waits_for = status.waits_for
    return view


def _plane_state(status: PlaneStatus | None) -> str:
    if status is None:
        return "silent"
    if not status.listening:
        return "starting" if status.table is None or status.waits_for else "draining"
    return "stale" if status.stale else "serving"


def _table(stamp: Stamp | None) -> TableView | None:
    return None if stamp is None else TableView(epoch=stamp.epoch, version=stamp.version, hash=f"{stamp.hash:016x}")


def _table_kept(runtime: RuntimeDir) -> RoutingTable | None:
    try:
        return decode_table(runtime.table.read_bytes())
    except (OSError, MessageError):
        return None


def _policies(table: RoutingTable, statuses: Iterable[PlaneStatus | None]) -> list[PolicyView]:
    told = (lack for status in statuses if status is not None for lack in status.lacks)
    return msgspec.convert(policy_statuses(table, told), list[PolicyView], from_attributes=True)


def _pairs(statuses: Iterable[PlaneStatus | None]) -> PairView | None:
    told = [status.pairs for status in statuses if status is not None and status.pairs is not None]
    return msgspec.convert(pair_status(told), PairView, from_attributes=True) if told else None


def _workers(table: RoutingTable, clock: Clock) -> list[WorkerView]:
    return [
        WorkerView(
            id=worker.id,
            epoch=worker.epoch,
            url=worker.url,
            state=worker.state,
            role=worker.role,
            reason=worker.reason,
            age=clock.wall() - worker.since if worker.since else None,
            models=worker.models,
            breaker=_breaker(worker, clock),
        )
        for worker in table.workers.values()
    ]


def _breaker(worker: Worker, clock: Clock) -> BreakerView:
    told = worker.breaker
    if told is None:
        return BreakerView()
    return BreakerView(state=told.state, reason=told.reason, age=clock.wall() - told.since)
