"""Metrics of discovery of pods; there are none while it is off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from controlplane.kubernetes.service import KubernetesService

_PREFIX = "routerctl_kubernetes_"


def kubernetes_metrics(service: KubernetesService) -> Iterator[Metric]:
    """Yield every family with its present values."""
    status = service.status()
    yield GaugeMetricFamily(
        _PREFIX + "following",
        "Whether the API server tells of changes of pods: 1 while it does, 0 while workers stay as they were.",
        value=float(status.state == "following"),
    )
    yield GaugeMetricFamily(_PREFIX + "pods", "Pods that a selector means, ready or not.", value=status.pods)
    yield GaugeMetricFamily(_PREFIX + "workers", "Workers that are pods.", value=status.workers)
    yield CounterMetricFamily(_PREFIX + "lists", "Whole lists of pods that the API server gave.", value=service.lists)
    failures = CounterMetricFamily(
        _PREFIX + "failures", "Requests to the API server that failed, by the reason.", labels=("reason",)
    )
    for reason, count in service.failures.items():
        failures.add_metric((reason,), count)
    yield failures
