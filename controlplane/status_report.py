"""What `GET /status` tells: the router's processes and workers, as JSON. Ages are in seconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Literal

import msgspec

from controlplane.admission.standing import AdmissionStatus
from controlplane.admission.worker_limit import WorkerLimitStatus, worker_limit
from controlplane.client_keys import ClientKeysStatus
from controlplane.configuration import ConfigStatus
from controlplane.discovery.discovered import Source
from controlplane.figures.traffic import Figures, WorkerTraffic
from controlplane.kubernetes.status import KubernetesStatus
from controlplane.kv_events.feed import SourceReport
from controlplane.loads import LOAD_SILENT_AFTER
from controlplane.namesakes import namesakes
from controlplane.pairs import PairStatus, pair_status
from controlplane.planes import SILENT_AFTER, Plane, Planes
from controlplane.policy_status import PolicyStatus, policy_statuses
from controlplane.registry import Member
from controlplane.supervision import HUNG_AFTER
from shared.limits import Kind
from shared.messages import WorkerLoad
from shared.plane_report import PolicyLack
from shared.runtime_dir import ProcessRecord, SupervisorRecord
from shared.table import (
    DEFAULT_PRIORITY,
    DEFAULT_WEIGHT,
    Breaker,
    BreakerState,
    Role,
    RoutingTable,
    Worker,
    WorkerState,
)
from shared.transfer import Transfer

PlaneState = Literal["starting", "serving", "draining", "refusing", "stale", "silent", "hung"]


_NO_FILE = ConfigStatus()
_NO_FIGURES = Figures()
_NO_LIMITS = AdmissionStatus()
_NO_AMOUNTS: Mapping[str, tuple[Kind, int]] = MappingProxyType({})
_SILENT = "it tells no figures (/metrics) any more"


class TableStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Which table it is. `hash` is hexadecimal: JSON readers lose digits of 64-bit numbers."""

    epoch: int
    version: int
    hash: str


class SupervisorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The supervisor as the runtime folder knows it. `age` counts from its start.

    `wire`, of all processes, is the digest of the messages that its code speaks; empty where it has not told.
    """

    pid: int
    state: Literal["running", "stopping", "gone"]
    version: str
    wire: str
    age: float


class ControlPlaneStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The control plane that answers. `age` counts from its start; `malformed` messages were dropped since."""

    pid: int
    state: Literal["running"] = "running"
    version: str
    wire: str
    age: float
    table: TableStatus
    models: tuple[str, ...]
    malformed: int


class PlaneStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One plane. `table_age` is what it told, brought up to now; None before its first report.

    `request_rate` is how many requests it took in per second, over the last 10 s; None while that is not known.

    `host` names the other host that it runs on; empty for one beside the control plane. With `has_namesake` another
    `routerctl plane` goes by that name, too.
    """

    slot: int
    host: str
    id: str
    pid: int
    state: PlaneState
    version: str
    wire: str
    age: float
    heard_age: float
    table: TableStatus | None
    table_age: float | None
    refused: str | None
    active: int
    inflight: int
    client_connections: int
    client_connection_limit: int
    resyncs: int
    has_namesake: bool
    request_rate: float | None = None


class LoadStatus(msgspec.Struct, frozen=True, kw_only=True):
    """An engine's own figures and how old they are."""

    running: float
    waiting: float
    kv_usage: float
    age: float


class BreakerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's breaker. `age` is how long it has not been closed, None while it is."""

    state: BreakerState
    reason: str = ""
    age: float | None = None


class KvStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the KV index has of one engine of a worker, its data-parallel `rank`.

    `blocks` of `block_size` tokens are held; `lost` counts those that are not in the index, by reason; `purges` counts
    how often all was forgotten.
    """

    rank: int
    blocks: int
    block_size: int
    lost: dict[str, int]
    purges: int


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One worker, or one data-parallel `rank` of the engines behind a URL.

    `epoch` counts its lives, `age` is how long it is in its state, `version` its server's own.

    `max_concurrent_requests` is its own limit, `limit` the one that it goes by; null: none.

    `source` told of it; `drained` once it drains and no plane has a request there. `changed` names the attributes
    that operators have changed while the router runs. `transfer` is how it moves KV cache, null while nothing is known.
    `traffic` is null while it has had no request, and in a control plane's first seconds.
    """

    id: str
    url: str
    rank: int | None = None
    role: Role
    state: WorkerState
    reason: str
    epoch: int
    version: str | None
    age: float
    models: tuple[str, ...] | None
    inflight: int
    breaker: BreakerStatus
    load: LoadStatus | None
    source: Source = "static"
    drained: bool = False
    labels: dict[str, str] = {}
    weight: float = DEFAULT_WEIGHT
    capacity: float | None = None
    max_concurrent_requests: int | None = None
    limit: WorkerLimitStatus | None = None
    priority: int = DEFAULT_PRIORITY
    transfer: Transfer | None = None
    changed: tuple[str, ...] = ()
    kv: tuple[KvStatus, ...] = ()
    traffic: WorkerTraffic | None = None


class StatusReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer. `supervisor` is None when the runtime folder knows of none.

    There should be `data_planes` planes beside the control plane. `removed` are workers that the configuration names
    and an operator has removed. `pairs` is null where there is no prefill/decode. `failing`: requests per second by
    cause, over the last 10 s. `admission` has the limits that are set. `client_keys` is null where clients need none,
    `kubernetes` where pods are not looked for.
    """

    supervisor: SupervisorStatus | None
    control_plane: ControlPlaneStatus
    planes: tuple[PlaneStatus, ...]
    workers: tuple[WorkerStatus, ...]
    data_planes: int
    removed: tuple[str, ...] = ()
    config: ConfigStatus = _NO_FILE
    client_keys: ClientKeysStatus | None = None
    policies: tuple[PolicyStatus, ...] = ()
    pairs: PairStatus | None = None
    failing: dict[str, float] = {}
    admission: AdmissionStatus = _NO_LIMITS
    kubernetes: KubernetesStatus | None = None


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
    removed: tuple[str, ...] = (),
    data_planes: int,
    config: ConfigStatus = _NO_FILE,
    client_keys: ClientKeysStatus | None = None,
    malformed: int,
    kv: Iterable[SourceReport] = (),
    figures: Figures = _NO_FIGURES,
    admission: AdmissionStatus = _NO_LIMITS,
    limits: Mapping[str, tuple[Kind, int]] = _NO_AMOUNTS,
    kubernetes: KubernetesStatus | None = None,
    now: float,
    wall: float,
) -> StatusReport:
    """Put the answer together. `now` is monotonic, `wall` Unix time, both in seconds.

    `limits` are those that are lent, by name.
    """
    caches: defaultdict[str, list[KvStatus]] = defaultdict(list)
    for source in kv:
        caches[source.key.worker].append(_kv_status(source))
    inflight = planes.inflight_by_worker()
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
        planes=tuple(_plane_status(plane, now, wall, doubled, figures.planes) for plane in planes.present()),
        workers=tuple(
            _worker_status(
                member,
                table,
                inflight.get(member.worker.id, 0),
                loads.get(member.worker.id),
                wall,
                is_drained=member.worker.id in drained,
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
        active=report.active if report is not None else 0,
        inflight=sum(plane.inflight.values()),
        client_connections=report.client_connections if report is not None else 0,
        client_connection_limit=report.client_connection_limit if report is not None else 0,
        resyncs=report.resyncs if report is not None else 0,
        has_namesake=plane.identity.host in doubled,
        request_rate=rates.get(plane.identity.id),
    )


def _plane_state(plane: Plane, now: float) -> PlaneState:
    silence = now - plane.heard
    if silence > SILENT_AFTER:
        # Its process runs, or it would not be here.
        # Of one on another host nobody can tell whether it hangs or the link is down.
        return "hung" if silence > HUNG_AFTER and not plane.identity.host else "silent"
    if plane.report is not None and plane.report.draining:
        return "draining"
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
    is_silent: bool,
    kv: tuple[KvStatus, ...],
    traffic: WorkerTraffic | None,
    limit: WorkerLimitStatus | None,
) -> WorkerStatus:
    worker = member.worker
    told = table.workers.get(worker.id)
    return WorkerStatus(
        id=worker.id,
        url=worker.url,
        rank=worker.rank,
        role=worker.role,
        state=worker.state,
        reason=worker.reason or (_SILENT if is_silent and _is_read(worker, wall) else ""),
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
