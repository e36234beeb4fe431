"""The status as records that change only when something does: ages become the moments from which they count."""

from __future__ import annotations

from collections.abc import Iterator
from math import nan

import msgspec

from controlplane.admission.standing import AdmissionStatus
from controlplane.client_keys import ClientKeysStatus
from controlplane.configuration import ConfigStatus
from controlplane.figures.traffic import Figures, Traffic
from controlplane.kubernetes.status import KubernetesStatus
from controlplane.page.history import Moment
from controlplane.pairs import PairStatus
from controlplane.policy_status import PolicyStatus
from controlplane.status_report import (
    ControlPlaneStatus,
    PlaneStatus,
    StatusReport,
    SupervisorStatus,
    WorkerStatus,
)
from shared.messages import LOAD_UNKNOWN_AFTER

SAME = 0.05
"""Seconds by which two readings of one moment may differ: ages are rounded to milliseconds, and clocks are set."""

ROUTER = "router"
PLANE = "plane:"
WORKER = "worker:"


class RouterRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The router itself. What counts `since` when is in Unix seconds; ages and what is left of pauses are 0."""

    supervisor: SupervisorStatus | None
    supervisor_since: float | None
    control_plane: ControlPlaneStatus
    control_plane_since: float
    config: ConfigStatus
    config_since: float | None
    client_keys: ClientKeysStatus | None
    data_planes: int
    removed: tuple[str, ...]
    policies: tuple[PolicyStatus, ...]
    pairs: PairStatus | None
    admission: AdmissionStatus
    kubernetes: KubernetesStatus | None
    traffic: Traffic | None


class PlaneRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A plane that runs `since` then."""

    since: float
    plane: PlaneStatus


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that is in its state `since` then; its breaker is not closed since `broken_since`.

    `load_is_old`: its figures are not believed any more.
    """

    since: float
    broken_since: float | None
    load_is_old: bool
    worker: WorkerStatus


class Records:
    """Writes records, and remembers the moments that they tell."""

    def __init__(self) -> None:
        self._moments: dict[str, float] = {}

    def of(self, report: StatusReport, figures: Figures, wall: float) -> Iterator[tuple[str, bytes]]:
        """Yield every record with its key; `wall` is when the report was made, in Unix seconds."""
        before, self._moments = self._moments, {}

        def moment(key: str, age: float) -> float:
            at = round(wall - age, 3)
            known = before.get(key, at)
            self._moments[key] = at = known if abs(known - at) < SAME else at
            return at

        supervisor, control, config = report.supervisor, report.control_plane, report.config
        router = RouterRecord(
            supervisor=_replace(supervisor, age=0.0) if supervisor is not None else None,
            supervisor_since=moment("supervisor", supervisor.age) if supervisor is not None else None,
            control_plane=_replace(control, age=0.0),
            control_plane_since=moment("control", control.age),
            config=_replace(config, age=None),
            config_since=moment("config", config.age) if config.age is not None else None,
            client_keys=report.client_keys,
            data_planes=report.data_planes,
            removed=report.removed,
            policies=report.policies,
            pairs=_pairs(report.pairs),
            admission=report.admission,
            kubernetes=report.kubernetes and _replace(report.kubernetes, age=0.0),
            traffic=figures.traffic,
        )
        yield ROUTER, _encode(router)
        for plane in report.planes:
            key = PLANE + plane.id
            yield key, _encode(PlaneRecord(since=moment(key, plane.age), plane=_replace(plane, age=0.0)))
        for worker in report.workers:
            key = WORKER + worker.id
            breaker, load = worker.breaker, worker.load
            record = WorkerRecord(
                since=moment(key, worker.age),
                broken_since=moment(f"breaker:{worker.id}", breaker.age) if breaker.age is not None else None,
                load_is_old=load is not None and load.age >= LOAD_UNKNOWN_AFTER,
                worker=_replace(
                    worker,
                    age=0.0,
                    breaker=_replace(breaker, age=None) if breaker.age is not None else breaker,
                    load=_replace(load, age=0.0) if load is not None else None,
                ),
            )
            yield key, _encode(record)


def moment_of(worker: WorkerStatus) -> Moment:
    """Return a worker's figures as its history keeps them."""
    load, traffic = worker.load, worker.traffic
    is_known = load is not None and load.age < LOAD_UNKNOWN_AFTER
    times = traffic.first_byte if traffic is not None else None
    return Moment(
        inflight=worker.inflight,
        running=load.running if load is not None and is_known else nan,
        waiting=load.waiting if load is not None and is_known else nan,
        kv_usage=load.kv_usage if load is not None and is_known else nan,
        requests=traffic.requests if traffic is not None else nan,
        first_byte=times.p50 if times is not None else nan,
    )


def _pairs(told: PairStatus | None) -> PairStatus | None:
    return told and _replace(told, open=tuple(_replace(one, seconds=0.0) for one in told.open))


_encode = msgspec.json.Encoder().encode
_replace = msgspec.structs.replace
