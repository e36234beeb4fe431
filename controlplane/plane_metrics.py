"""What is known of each plane, as metrics. The label is its place (`0`, or `gpu-b/0`), not its life."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from controlplane.metric_names import PREFIX
from controlplane.planes import Planes
from shared.plane_report import CounterReport

_Reading = Callable[[CounterReport], float | None]

_GAUGES: tuple[tuple[str, str, _Reading], ...] = (
    ("plane_active_requests", "Client requests that a plane has taken in and not ended.", lambda r: r.active),
    (
        "plane_table_version",
        "Version of the table that a plane serves from.",
        lambda r: r.table.version if r.table is not None else 0,
    ),
    ("plane_stale", "1 when a plane has lost touch with the control plane.", lambda r: r.stale),
    ("plane_draining", "1 when a plane ends its open requests and takes no new clients.", lambda r: r.draining),
    (
        "plane_client_connections",
        "Clients connected to a plane, idle ones included.",
        lambda r: r.client_connections,
    ),
    (
        "plane_client_connection_limit",
        "Most clients that a plane takes; others wait.",
        lambda r: r.client_connection_limit,
    ),
    (
        "plane_worker_connections",
        "Connections of a plane to workers, idle ones included.",
        lambda r: r.worker_connections,
    ),
    ("plane_kv_blocks", "KV blocks in a plane's copy of the index.", lambda r: r.kv_blocks),
    ("plane_retry_budget", "Retries that a plane could make at once.", lambda r: r.retry_budget),
)


def plane_metrics(planes: Planes, now: float) -> Iterator[Metric]:
    """Yield the families; `now` is in monotonic seconds."""
    # Of several planes in one place (one replaces the other) the newest is last.
    present = {plane.identity.label: plane for plane in planes.present()}
    told = [(place, plane, plane.report) for place, plane in present.items() if plane.report is not None]
    for name, text, reading in _GAUGES:
        yield _family(name, text, ((place, reading(report)) for place, _, report in told))
    yield _family(
        "plane_table_age_seconds",
        "How long ago a plane knew its table to be current.",
        ((place, report.table_age + now - plane.reported) for place, plane, report in told),
    )
    yield _family(
        "plane_load_age_seconds",
        "How long ago a plane heard how busy the engines are; none before the first time.",
        (
            (place, report.load_age + now - plane.reported)
            for place, plane, report in told
            if report.load_age is not None
        ),
    )
    yield _family(
        "plane_report_age_seconds",
        "How long ago a plane's last figures came.",
        ((place, now - plane.reported) for place, plane, _ in told),
    )
    yield _family(
        "plane_ack_lag_seconds",
        "How long after its publication a plane served from the newest table; while it does not, how long it has not.",
        ((place, planes.ack_lag(plane, now)) for place, plane in present.items()),
    )


def _family(name: str, text: str, values: Iterator[tuple[str, float | None]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, text, labels=("plane",))
    for place, value in values:
        if value is not None:
            family.add_metric((place,), value)
    return family
