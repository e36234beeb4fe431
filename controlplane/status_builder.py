"""Builds what `GET /status` tells from what the control plane knows. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

import msgspec

from controlplane.admission.standing import AdmissionStatus
from controlplane.admission.worker_limit import WorkerLimitStatus, worker_limit
from controlplane.client_keys import ClientKeysStatus
from controlplane.configuration import ConfigStatus
from controlplane.figures.traffic import Figures, WorkerTraffic
from controlplane.kubernetes.status import KubernetesStatus
from controlplane.kv_events.feed import SourceReport
from controlplane.loads import LOAD_SILENT_AFTER
from controlplane.namesakes import namesakes
from controlplane.pairs import pair_status
from controlplane.planes import SILENT_AFTER, Plane, Planes
from controlplane.policy_status import policy_statuses
from controlplane.registry import Member
from controlplane.status_report import (
    NO_FILE,
    NO_LIMITS,
    BreakerStatus,
    ControlPlaneStatus,
    KvStatus,
    LoadStatus,
    PlaneState,
    PlaneStatus,
    StatusReport,
    SupervisorStatus,
    TableStatus,
    WorkerStatus,
)
from controlplane.supervision import HUNG_AFTER
from shared.limits import Kind
from shared.messages import WorkerLoad
from shared.plane_report import PolicyLack
from shared.runtime_dir import ProcessRecord, SupervisorRecord
from shared.table import (
    Breaker,
    RoutingTable,
    Worker,
)

_NO_FIGURES = Figures()
_HELD_BY_NOBODY: Mapping[str, str] = MappingProxyType({})
_NO_AMOUNTS: Mapping[str, tuple[Kind, int]] = MappingProxyType({})
_SILENT = "it tells no figures (/metrics) any more"


def build_report(
    *,
    supervisor: SupervisorRecord | None,
    supervisor_runs: bool,
    own: ProcessRecord,
    table: RoutingTable,
    members: tuple[Member, ...],
    planes: Planes,
    loads: dict[str, WorkerLoad],
    silent: frozenset[str] = frozenset(),
    drained: frozenset[str] = frozenset(),
    held: Mapping[str, str] = _HELD_BY_NOBODY,
    ended: frozenset[str] = frozenset(),
    removed: tuple[str, ...] = (),
    data_planes: int,
    config: ConfigStatus = NO_FILE,
    client_keys: ClientKeysStatus | None = None,
    malformed: int,
    kv: Iterable[SourceReport] = (),
    figures: Figures = _NO_FIGURES,
    admission: AdmissionStatus = NO_LIMITS,
    limits: Mapping[str, tuple[Kind, int]] = _NO_AMOUNTS,
    kubernetes: KubernetesStatus | None = None,
    now: float,
    wall: float,
) -> StatusReport:
    """Put the answer together. `now` is monotonic, `wall` Unix time, both in seconds.

    `limits` are those that are lent, by name, `ended` the ids of planes whose processes run no more, `held` why workers
    that drain can not be called drained.
    """
    caches: defaultdict[str, list[KvStatus]] = defaultdict(list)
    for source in kv:
        caches[source.key.worker].append(_kv_status(source))
    inflight = planes.inflight_by_worker(ended)
    doubled = namesakes(planes.present(), now)
    return StatusReport(
        supervisor=None
        if supervisor is None
        else SupervisorStatus(
            pid=supervisor.pid,
            state="gone" if not supervisor_runs else "stopping" if supervisor.is_stopping else "running",
            version=supervisor.version,
            wire=supervisor.wire,
            age=_age(supervisor.started, wall),
        ),
        control_plane=ControlPlaneStatus(
            pid=own.pid,
            version=own.version,
            wire=own.wire,
            age=_age(own.started, wall),
            table=_table_status(table.stamp.epoch, table.stamp.version, table.stamp.hash),
            models=tuple(table.models),
            malformed=malformed,
        ),
        planes=tuple(
            _ended(told) if told.id in ended else told
            for told in (_plane_status(plane, now, wall, doubled, figures.planes) for plane in planes.present())
        ),
        workers=tuple(
            _worker_status(
                member,
                table,
                inflight.get(member.worker.id, 0),
                loads.get(member.worker.id),
                wall,
                is_drained=member.worker.id in drained,
                held=held.get(member.worker.id, ""),
                is_silent=member.worker.id in silent,
                kv=tuple(caches[member.worker.id]),
                traffic=figures.workers.get(member.worker.id),
                limit=worker_limit(member.worker, table.settings, limits),
            )
            for member in members
        ),
        data_planes=data_planes,
        removed=removed,
        config=config,
        client_keys=client_keys,
        policies=policy_statuses(table, _lacks(planes.present(), now)),
        pairs=pair_status(told) if (told := planes.pair_reports(now)) else None,
        failing=figures.traffic.causes if figures.traffic is not None else {},
        traces_lost=figures.traces_lost,
        admission=admission,
        kubernetes=kubernetes,
    )


def _lacks(planes: Iterable[Plane], now: float) -> Iterator[PolicyLack]:
    for plane in planes:
        if plane.report is not None and now - plane.reported <= SILENT_AFTER:
            yield from plane.report.lacks


def _plane_status(
    plane: Plane, now: float, wall: float, doubled: frozenset[str], rates: Mapping[str, float]
) -> PlaneStatus:
    report = plane.report
    stamp = plane.acked
    return PlaneStatus(
        slot=plane.identity.slot,
        host=plane.identity.host,
        id=plane.identity.id,
        pid=plane.identity.pid,
        state=_plane_state(plane, now),
        version=plane.identity.version,
        wire=plane.identity.wire,
        age=_age(plane.identity.started, wall),
        heard_age=round(now - plane.heard, 3),
        table=_table_status(stamp.epoch, stamp.version, stamp.hash) if stamp is not None else None,
        table_age=round(report.table_age + now - plane.reported, 3) if report is not None else None,
        refused=plane.nack,
        waits_for=report.waits_for if report is not None else "",
        active=plane.active,
        inflight=sum(plane.inflight.values()),
        client_connections=report.client_connections if report is not None else 0,
        client_connection_limit=report.client_connection_limit if report is not None else 0,
        resyncs=report.resyncs if report is not None else 0,
        has_namesake=plane.identity.host in doubled,
        request_rate=rates.get(plane.identity.id),
    )


def _ended(plane: PlaneStatus) -> PlaneStatus:
    """Return what is left of a plane whose process ended before anybody missed its reports."""
    return msgspec.structs.replace(plane, state="gone", active=0, inflight=0, client_connections=0, request_rate=None)


def _plane_state(plane: Plane, now: float) -> PlaneState:
    silence = now - plane.heard
    if silence > SILENT_AFTER:
        # Its process runs, or it would not be here.
        # Of one on another host nobody can tell whether it hangs or the link is down.
        return "hung" if silence > HUNG_AFTER and not plane.identity.host else "silent"
    if plane.report is not None and plane.report.draining:
        return "draining"
    if plane.report is not None and plane.report.waits_for:
        return "starting"
    if plane.nack is not None:
        return "refusing"
    if plane.report is not None and plane.report.stale:
        return "stale"
    return "serving" if plane.acked is not None else "starting"


def _worker_status(
    member: Member,
    table: RoutingTable,
    inflight: int,
    load: WorkerLoad | None,
    wall: float,
    *,
    is_drained: bool,
    held: str,
    is_silent: bool,
    kv: tuple[KvStatus, ...],
    traffic: WorkerTraffic | None,
    limit: WorkerLimitStatus | None,
) -> WorkerStatus:
    worker = member.worker
    reason = f"{worker.reason}; {held}" if held else worker.reason
    told = table.workers.get(worker.id)
    return WorkerStatus(
        id=worker.id,
        url=worker.url,
        rank=worker.rank,
        role=worker.role,
        state=worker.state,
        reason=reason or (_SILENT if is_silent and _is_read(worker, wall) else ""),
        epoch=worker.epoch,
        version=member.version,
        age=_age(worker.since, wall),
        models=worker.models,
        inflight=inflight,
        breaker=_breaker_status(told.breaker if told is not None else None, wall),
        load=None
        if load is None
        else LoadStatus(running=load.running, waiting=load.waiting, kv_usage=load.kv_usage, age=round(load.age, 3)),
        source=member.source,
        drained=is_drained,
        labels=worker.labels,
        weight=worker.weight,
        capacity=worker.capacity,
        max_concurrent_requests=worker.max_concurrent_requests,
        limit=limit,
        priority=worker.priority,
        transfer=worker.transfer,
        changed=member.changed,
        kv=kv,
        traffic=traffic,
    )


def _is_read(worker: Worker, wall: float) -> bool:
    """Whether its figures would have come by now: they are not read of a worker that is unhealthy."""
    return worker.state == "ready" and _age(worker.since, wall) >= LOAD_SILENT_AFTER


def _kv_status(source: SourceReport) -> KvStatus:
    return KvStatus(
        rank=source.key.rank,
        blocks=source.blocks,
        block_size=source.block_size,
        lost=source.lost._asdict(),
        purges=source.purges,
    )


def _breaker_status(breaker: Breaker | None, wall: float) -> BreakerStatus:
    if breaker is None:
        return BreakerStatus(state="closed")
    return BreakerStatus(state=breaker.state, reason=breaker.reason, age=_age(breaker.since, wall))


def _table_status(epoch: int, version: int, digest: int) -> TableStatus:
    return TableStatus(epoch=epoch, version=version, hash=f"{digest:016x}")


def _age(since: float, wall: float) -> float:
    return round(max(0.0, wall - since), 3)
