"""The limit that a worker goes by at the moment, and whence it comes, for people. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from shared.limits import MOST_ADAPTIVE, WORKER, Kind
from shared.table import Settings, Worker


class WorkerLimitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests a worker may have at a time, over all planes.

    `source` is `worker` (a limit of its own), `all` (--worker-max-concurrent-requests) or `found`
    (--adaptive-worker-limit), which is never more than `most`.
    """

    amount: int
    source: Literal["worker", "all", "found"]
    most: int


def worker_limit(
    worker: Worker, settings: Settings, in_force: Mapping[str, tuple[Kind, int]]
) -> WorkerLimitStatus | None:
    """Return a worker's limit, None where it has none; `in_force` has the limits that are lent, by name."""
    lent = in_force.get(WORKER + worker.id)
    if lent is None:
        return None
    own, (_, amount) = worker.max_concurrent_requests, lent
    most = settings.worker_max_concurrent_requests if own is None else own
    if settings.adaptive_worker_limit:
        return WorkerLimitStatus(amount=amount, source="found", most=most or MOST_ADAPTIVE)
    return WorkerLimitStatus(amount=amount, source="all" if own is None else "worker", most=most)
