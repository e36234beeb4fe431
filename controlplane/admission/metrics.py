"""The metrics of the limits: what there is, what planes use of it, what they were lent, and who waits."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from controlplane.admission.lender import Lender
from controlplane.metric_names import PREFIX
from shared.limits import RATE_UNIT, Kind


def limit_metrics(lender: Lender, now: float) -> Iterator[Metric]:
    """Yield the families; `now` is in monotonic seconds."""
    ledger = lender.ledger
    families = [
        GaugeMetricFamily(PREFIX + name, text, labels=("limit",))
        for name, text in (
            ("limit", "A limit that is set: requests at a time (total) or per second (rate)."),
            ("limit_in_use", "Requests that count for a limit at this moment, as the planes told; 0 of a rate."),
            ("limit_lent", "What all planes together may use of a limit."),
        )
    ]
    for name, (kind, amount) in lender.limits.items():
        values = (amount, ledger.in_use(name), ledger.lent(name, now))
        for family, value in zip(families, values, strict=True):
            family.add_metric((name,), _shown(kind, value))
    yield from families
    queued = GaugeMetricFamily(PREFIX + "queued_requests", "Requests that wait for their turn.", labels=("plane",))
    for plane, count in lender.waiting().items():
        queued.add_metric((plane,), count)
    yield queued


def _shown(kind: Kind, value: int) -> float:
    return value / RATE_UNIT if kind == "rate" else value
