"""What became of requests at each worker, over all planes: when each last answered, and the sums of an interval.

Planes tell sums since they know a worker's life. What was told before counts for nothing here when it was told to an
earlier control plane, whose interval is over.

No socket and no clock. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf

from controlplane.outliers import Sample
from controlplane.planes import Plane
from shared.plane_report import WorkerOutcomes

_NONE = WorkerOutcomes(0, 0, 0, 0, 0, 0.0)


class Outcomes:
    """By worker id, of the workers' present lives."""

    def __init__(self) -> None:
        self._told: dict[str, Mapping[str, WorkerOutcomes]] = {}
        self._answered: dict[str, float] = {}
        self._interval: dict[str, WorkerOutcomes] = {}

    def read(self, planes: Iterable[Plane], epochs: Mapping[str, int], now: float) -> None:
        """Take in the planes' newest reports; `epochs` has the present life of every worker. About once a second."""
        told: dict[str, Mapping[str, WorkerOutcomes]] = {
            plane.identity.id: plane.report.outcomes for plane in planes if plane.report is not None
        }
        for plane, workers in told.items():
            if (before := self._told.get(plane)) is None:
                continue
            for worker, sums in workers.items():
                past = before.get(worker, _NONE)
                if epochs.get(worker) == sums.epoch and sums != past:
                    self._add(worker, sums, past, now)
        self._told = told
        for worker in self._answered.keys() - epochs.keys():
            del self._answered[worker]
        for worker in [worker for worker, sums in self._interval.items() if epochs.get(worker) != sums.epoch]:
            del self._interval[worker]

    def answered(self, worker: str) -> float:
        """Return when a worker was last heard to answer a request, within the second; -inf if never."""
        return self._answered.get(worker, -inf)

    def samples(self) -> dict[str, Sample]:
        """Return the sums since the call before, and begin new ones."""
        interval, self._interval = self._interval, {}
        return {
            worker: Sample(worker, sums.succeeded, sums.failed, sums.streams, sums.first_byte_seconds)
            for worker, sums in interval.items()
        }

    def _add(self, worker: str, sums: WorkerOutcomes, before: WorkerOutcomes, now: float) -> None:
        if before.epoch != sums.epoch:
            before = _NONE
        if sums.answers > before.answers or sums.succeeded > before.succeeded:
            self._answered[worker] = now
        total = self._interval.get(worker, _NONE)
        if total.epoch != sums.epoch:
            total = _NONE
        self._interval[worker] = WorkerOutcomes(
            sums.epoch,
            total.answers + sums.answers - before.answers,
            total.succeeded + sums.succeeded - before.succeeded,
            total.failed + sums.failed - before.failed,
            total.streams + sums.streams - before.streams,
            total.first_byte_seconds + sums.first_byte_seconds - before.first_byte_seconds,
        )
