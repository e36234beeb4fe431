"""What `routerctl top` knows of a router: the part of `GET /monitor` that it shows, by the same names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from controlplane.cli.kubernetes_view import KubernetesView
from controlplane.cli.limits_view import AdmissionView
from controlplane.cli.pairs_view import PairView
from controlplane.cli.policies_view import PolicyView
from controlplane.cli.status_view import BreakerView, ClientKeysView, ConfigView, ProcessView


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Quantiles, in seconds."""

    p50: float
    p95: float


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Of the whole router, per second, and times; `causes` of failures, the most frequent first."""

    requests: float
    failures: float
    prompt_tokens: float
    output_tokens: float
    duration: Times | None = None
    first_token: Times | None = None
    causes: Mapping[str, float] = {}


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at a glance; `workers` by condition (`controlplane.condition`)."""

    workers: Mapping[str, int]
    broken: int
    planes: int
    data_planes: int
    active: int
    traffic: Traffic | None = None


class WorkerTraffic(msgspec.Struct, frozen=True, kw_only=True):
    """Of one worker, per second, and times."""

    requests: float
    failures: float
    first_byte: Times | None = None


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """An engine's own figures; `kv_usage` is from 0 to 1, `age` in seconds."""

    running: float
    waiting: float
    kv_usage: float
    age: float = 0.0


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """One worker. `age` is in seconds since it came into its state."""

    id: str
    state: str
    role: str = "regular"
    reason: str = ""
    version: str | None = None
    epoch: int = 1
    age: float | None = None
    models: Sequence[str] | None = None
    inflight: int = 0
    drained: bool = False
    capacity: float | None = None
    labels: Mapping[str, str] = {}
    breaker: BreakerView = BreakerView()
    load: Load | None = None
    traffic: WorkerTraffic | None = None


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Which routing table is meant."""

    version: int


class Plane(msgspec.Struct, frozen=True, kw_only=True):
    """One plane; ages in seconds, `request_rate` per second."""

    slot: int
    state: str
    host: str = ""
    version: str = ""
    age: float | None = None
    table: Table | None = None
    table_age: float | None = None
    active: int = 0
    request_rate: float | None = None
    waits_for: str = ""

    @property
    def place(self) -> str:
        """Its slot, behind the name of its host when that is another one."""
        return f"{self.host}/{self.slot}" if self.host else str(self.slot)


class ControlPlane(msgspec.Struct, frozen=True, kw_only=True):
    """The control plane that told all this."""

    version: str
    age: float
    table: Table


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The router's processes and workers. `failing` requests per second are told by cause."""

    control_plane: ControlPlane
    planes: Sequence[Plane]
    workers: Sequence[Worker]
    supervisor: ProcessView | None = None
    config: ConfigView = ConfigView()
    client_keys: ClientKeysView | None = None
    policies: Sequence[PolicyView] = ()
    pairs: PairView | None = None
    failing: Mapping[str, float] = {}
    traces_lost: int = 0
    admission: AdmissionView = AdmissionView()
    kubernetes: KubernetesView | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that changed; `time` in Unix seconds."""

    time: float
    level: str
    text: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer; `time` is the router's, in Unix seconds."""

    time: float
    summary: Summary
    status: Status
    events: Sequence[Event] = ()


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What is known now: the last answer, `age` seconds old, and why there is no newer one (empty: there is)."""

    where: str
    snapshot: Snapshot | None = None
    age: float = 0.0
    problem: str = ""
