"""The metrics of the limits: what there is, what planes use of it, what they were lent, and who waits.

A thousand keys can have limits of their own, so of those only the fullest have series.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric

from controlplane.admission.lender import Lender
from controlplane.metric_names import PREFIX
from shared.limits import KEY, RATE_UNIT, Kind

MAX_KEYS_LIMITS = 50
"""Limits of keys that have series."""
HALF = 0.5


def limit_metrics(lender: Lender, now: float) -> Iterator[Metric]:
    """Yield the families; `now` is in monotonic seconds."""
    ledger = lender.ledger
    families = [
        GaugeMetricFamily(PREFIX + name, text, labels=("limit",))
        for name, text in (
            (
                "limit",
                "A limit that is set: requests at a time (total), per second (rate) or, of a key, in 60 s, or tokens.",
            ),
            (
                "limit_in_use",
                "What counts for a limit at this moment, requests or tokens, as the planes told; 0 of a rate.",
            ),
            ("limit_lent", "What all planes together may use of a limit."),
        )
    ]
    in_use = {name: ledger.in_use(name) for name in lender.limits}
    for name in shown_limits({name: amount for name, (_, amount) in lender.limits.items()}, in_use):
        kind, amount = lender.limits[name]
        values = (amount, in_use[name], ledger.lent(name, now))
        for family, value in zip(families, values, strict=True):
            family.add_metric((name,), _shown(kind, value))
    yield from families
    queued = GaugeMetricFamily(PREFIX + "queued_requests", "Requests that wait for their turn.", labels=("plane",))
    for plane, count in lender.waiting().items():
        queued.add_metric((plane,), count)
    yield queued


def shown_limits(amounts: Mapping[str, int], in_use: Mapping[str, int]) -> list[str]:
    """Return the names of the limits that have series: all but keys', and of those the fullest, at least half full."""
    fills = {name: in_use[name] / amount for name, amount in amounts.items() if name.startswith(KEY)}
    fullest = sorted((name for name, fill in fills.items() if fill >= HALF), key=lambda name: -fills[name])
    return [*(name for name in amounts if name not in fills), *fullest[:MAX_KEYS_LIMITS]]


def _shown(kind: Kind, value: int) -> float:
    return value / RATE_UNIT if kind == "rate" else value
