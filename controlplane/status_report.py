"""What `GET /status` tells: the router's processes and workers, as JSON. Ages are in seconds."""

from __future__ import annotations

from typing import Literal

import msgspec

from controlplane.admission.standing import AdmissionStatus
from controlplane.admission.worker_limit import WorkerLimitStatus
from controlplane.client_keys import ClientKeysStatus
from controlplane.configuration import ConfigStatus
from controlplane.discovery.discovered import Source
from controlplane.figures.traffic import WorkerTraffic
from controlplane.kubernetes.status import KubernetesStatus
from controlplane.pairs import PairStatus
from controlplane.policy_status import PolicyStatus
from shared.table import (
    DEFAULT_PRIORITY,
    DEFAULT_WEIGHT,
    BreakerState,
    Role,
    WorkerState,
)
from shared.transfer import Transfer

NO_FILE = ConfigStatus()
NO_LIMITS = AdmissionStatus()

PlaneState = Literal["starting", "serving", "draining", "refusing", "stale", "silent", "hung", "gone"]


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
    `active` and `inflight` are of one instant. The former counts clients' requests until their end, also while they are
    read, wait in the queue or between attempts; the latter what is at workers, a pair's request at both.

    `waits_for` says why one that is starting takes no clients though it has a table; empty for others.
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
    waits_for: str
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
    cause, over the last 10 s; `traces_lost` is a count of the last 60 s. `admission` has the limits that are set.
    `client_keys` is null where clients need none, `kubernetes` where pods are not looked for.
    """

    supervisor: SupervisorStatus | None
    control_plane: ControlPlaneStatus
    planes: tuple[PlaneStatus, ...]
    workers: tuple[WorkerStatus, ...]
    data_planes: int
    removed: tuple[str, ...] = ()
    config: ConfigStatus = NO_FILE
    client_keys: ClientKeysStatus | None = None
    policies: tuple[PolicyStatus, ...] = ()
    pairs: PairStatus | None = None
    failing: dict[str, float] = {}
    traces_lost: int = 0
    admission: AdmissionStatus = NO_LIMITS
    kubernetes: KubernetesStatus | None = None
