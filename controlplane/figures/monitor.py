"""What monitors show, in one answer: the fleet at a glance, its processes and workers, and what happened last."""

from __future__ import annotations

from collections import Counter

import msgspec

from controlplane.events.event import Event
from controlplane.figures.traffic import Figures, Traffic
from controlplane.status_report import StatusReport
from shared.table import WorkerState


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at a glance: workers by state, how many of the ready ones have a breaker that is not closed.

    `planes` serve, of the `data_planes` that there should be beside the control plane and those that it knows of
    elsewhere. `active` client requests have not
    ended. `traffic` is None in a control plane's first seconds.
    """

    workers: dict[WorkerState, int]
    broken: int
    planes: int
    data_planes: int
    active: int
    traffic: Traffic | None


class Monitor(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `GET /monitor`. `time` is the router's, in Unix seconds; `events` are the newest, oldest first."""

    time: float
    summary: Summary
    status: StatusReport
    events: tuple[Event, ...]


def summary(report: StatusReport, figures: Figures) -> Summary:
    """Return the fleet at a glance."""
    ready_and_broken = (one for one in report.workers if one.state == "ready" and one.breaker.state != "closed")
    return Summary(
        workers=dict(Counter(worker.state for worker in report.workers)),
        broken=sum(1 for _ in ready_and_broken),
        planes=sum(plane.state in ("serving", "stale") for plane in report.planes),
        data_planes=report.data_planes + sum(1 for plane in report.planes if plane.host),
        active=sum(plane.active for plane in report.planes),
        traffic=figures.traffic,
    )
