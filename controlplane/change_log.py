"""What the log says of a worker's change."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import msgspec

from controlplane.events.event import about
from controlplane.registry import Change
from shared.model_rules import labels_text
from shared.table import Worker
from shared.worker_attributes import AttributeChange

log = logging.getLogger("controlplane.control_plane")


def log_change(change: Change) -> None:
    """Log a change that people want to know of."""
    before, after = change
    extra = about("worker", after.id)
    if before.epoch != after.epoch:
        log.info("worker %s was restarted", after.id, extra=extra)
    if before.state == after.state:
        if after.state == "starting" and after.reason != before.reason:
            log.info("worker %s is not there yet: %s", after.id, after.reason, extra=extra)
        return
    if after.state in ("unhealthy", "ejected"):
        log.warning("worker %s is %s (was %s): %s", after.id, after.state, before.state, after.reason, extra=extra)
    else:
        why = f": {after.reason}" * bool(after.reason)
        log.info("worker %s is %s (was %s)%s", after.id, after.state, before.state, why, extra=extra)


def attributes_told(worker: Worker, wanted: AttributeChange) -> str:
    """Return the attributes that were to change as the worker has them now, by the words of `routerctl workers`."""
    return ", ".join(_told(worker, wanted))


def _told(worker: Worker, wanted: AttributeChange) -> Iterator[str]:
    if wanted.weight is not msgspec.UNSET:
        yield f"weight {worker.weight:g}"
    if wanted.priority is not msgspec.UNSET:
        yield f"priority {worker.priority}"
    if wanted.capacity is not msgspec.UNSET:
        yield "no capacity" if worker.capacity is None else f"capacity {worker.capacity:g}"
    if wanted.max_concurrent_requests is not msgspec.UNSET:
        limit = worker.max_concurrent_requests
        # 0 is none, also where there is one for all.
        yield "no limit of its own" if limit is None else f"limit {limit}" if limit else "no limit"
    if wanted.labels is None:
        yield from (f"label {one}" for one in labels_text(worker.labels)) if worker.labels else ("no labels",)
    elif wanted.labels is not msgspec.UNSET:
        for name in wanted.labels:
            yield f"label {name}={worker.labels[name]}" if name in worker.labels else f"no label {name}"
