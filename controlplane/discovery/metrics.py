"""Metrics of discovery; there are none while it is off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from controlplane.discovery.service import DiscoveryService

_PREFIX = "routerctl_discovery_"


def discovery_metrics(service: DiscoveryService, now: float) -> Iterator[Metric]:
    """Yield every family with its present values; `now` is monotonic seconds."""
    messages = CounterMetricFamily(
        _PREFIX + "messages", "Messages of workers that register, by what they were.", labels=("kind",)
    )
    for kind, count in service.tally.taken.items():
        messages.add_metric((kind,), count)
    refused = CounterMetricFamily(
        _PREFIX + "refused", "Messages and connections that counted for nothing, by the reason.", labels=("reason",)
    )
    for reason, count in service.tally.refused.items():
        refused.add_metric((reason,), count)
    workers = GaugeMetricFamily(
        _PREFIX + "workers", "Workers that have registered, by whether they still ping.", labels=("pinging",)
    )
    silent = service.registrations.silent(now)
    workers.add_metric(("no",), silent)
    workers.add_metric(("yes",), len(service.registrations) - silent)
    connections = GaugeMetricFamily(_PREFIX + "connections", "Connections to the discovery port.")
    connections.add_metric((), len(service.connections))
    yield from (messages, refused, workers, connections)
    if service.keyed is not None:
        keyed = CounterMetricFamily(
            _PREFIX + "keyed_connections",
            "Connections to the port for workers with keys: let in, refused for their key, or for having none.",
            labels=("result",),
        )
        for result, count in service.keyed.tally.results.items():
            keyed.add_metric((result,), count)
        yield keyed
