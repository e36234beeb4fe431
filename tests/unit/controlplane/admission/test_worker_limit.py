from __future__ import annotations

from controlplane.admission.worker_limit import WorkerLimitStatus, worker_limit
from shared.limits import MOST_ADAPTIVE, Kind
from shared.table import Settings, Worker


def worker(own: int | None = None) -> Worker:
    return Worker(id="a", url="a", state="ready", since=0.0, max_concurrent_requests=own)


def test_a_limit_says_whence_it_comes() -> None:
    of_all = Settings(worker_max_concurrent_requests=8)
    assert worker_limit(worker(), Settings(), {}) is None
    assert worker_limit(worker(0), of_all, {}) is None
    told = worker_limit(worker(), of_all, {"worker:a": ("slots", 8), "worker:b": ("slots", 1)})
    assert told == WorkerLimitStatus(amount=8, source="all", most=8)
    told = worker_limit(worker(4), of_all, {"worker:a": ("slots", 4)})
    assert told == WorkerLimitStatus(amount=4, source="worker", most=4)


def test_a_limit_that_is_found_is_told_and_not_the_one_that_bounds_it() -> None:
    lent: dict[str, tuple[Kind, int]] = {"worker:a": ("slots", 5)}
    found = Settings(adaptive_worker_limit=True)
    assert worker_limit(worker(), found, lent) == WorkerLimitStatus(amount=5, source="found", most=MOST_ADAPTIVE)
    assert worker_limit(worker(9), found, lent) == WorkerLimitStatus(amount=5, source="found", most=9)
