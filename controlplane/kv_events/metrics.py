"""Metrics of the KV index; there are none while no policy wants it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from controlplane.kv_events.service import KvEvents

_PREFIX = "routerctl_kv_"


def kv_metrics(events: KvEvents) -> Iterator[Metric]:
    """Yield every family with its present values. Figures of a worker's engines are summed."""
    if not events.is_wanted:
        return
    blocks, purges = Counter[str](), Counter[str]()
    lost = Counter[tuple[str, str]]()
    for source in events.report():
        worker = source.key.worker
        blocks[worker] += source.blocks
        purges[worker] += source.purges
        for reason, count in source.lost._asdict().items():
            lost[worker, reason] += count
    held = GaugeMetricFamily(
        _PREFIX + "blocks", "KV blocks that a worker's engines hold, as they told.", labels=("worker",)
    )
    purged = CounterMetricFamily(
        _PREFIX + "purges", "Times that all was forgotten of an engine, as messages were lost.", labels=("worker",)
    )
    missing = CounterMetricFamily(
        _PREFIX + "lost_blocks",
        "Blocks that engines told of and that are not in the index: their parent is not known (orphans), there is "
        "no room (over_limit), the event does not fit together (unusable).",
        labels=("worker", "reason"),
    )
    for worker, count in blocks.items():
        held.add_metric((worker,), count)
        purged.add_metric((worker,), purges[worker])
    for labels, count in lost.items():
        missing.add_metric(labels, count)
    yield from (held, purged, missing)
    yield CounterMetricFamily(_PREFIX + "messages", "Messages of engines that were read.", events.messages)
    yield CounterMetricFamily(
        _PREFIX + "malformed", "Messages and events of engines that were dropped.", events.malformed
    )
    yield GaugeMetricFamily(
        _PREFIX + "silent_workers", "Workers that tell of no KV events.", len(events.without_events)
    )
