"""What monitors show, in one answer: the fleet at a glance, its processes and workers, and what happened last."""

from __future__ import annotations

from collections import Counter

import msgspec

from controlplane.condition import BREAKER, condition
from controlplane.events.event import Event
from controlplane.figures.traffic import Figures, Traffic
from controlplane.status_report import StatusReport


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet at a glance: workers by condition (`controlplane.condition`), `broken` those that a breaker keeps out.

    `planes` serve, of the `data_planes` that there should be beside the control plane and those that it knows of
    elsewhere. `active` client requests have not
    ended. `traffic` is None in a control plane's first seconds.
    """

    workers: dict[str, int]
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
    workers = Counter(condition(one.state, one.breaker.state, is_drained=one.drained) for one in report.workers)
    return Summary(
        workers=dict(workers),
        broken=sum(count for word, count in workers.items() if word.startswith(BREAKER)),
        planes=sum(plane.state in ("serving", "stale") for plane in report.planes),
        data_planes=report.data_planes + sum(1 for plane in report.planes if plane.host),
        active=sum(plane.active for plane in report.planes),
        traffic=figures.traffic,
    )
