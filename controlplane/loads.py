"""The newest figures of each worker's engine, with their age. Newest wins, and old ones are forgotten.

An engine's gauges can lie: vLLM brings them up to date when it takes a step, and after all of its requests were
cancelled it takes none (vllm#29928). It looks full for ever then, and a policy that goes by load never sends it the
request that would set it right. So figures that tell of requests are not believed any more when they have not moved
for `STUCK_AFTER` in which no plane was seen to have a request there: they are told with an age at which they count as
unknown, until they move or a plane has a request there.

That is never sure where others than this router use the worker, too: one whose requests stand still counts as unknown
until they move, and is balanced by what the planes send it. A generation moves the cache's figure. Where a large fleet
is read less often than once a second, two readings take longer than `STUCK_AFTER`, and so does this.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import NamedTuple

from controlplane.load_page import EngineLoad
from shared.messages import LOAD_UNKNOWN_AFTER, WorkerLoad
from shared.table import Worker

STUCK_AFTER = 1.0
"""Seconds: three readings at the usual pace; with the planes' 0.1 s a worker has requests again well within 3 s."""


LOAD_SILENT_AFTER = 10.0
"""Seconds after which a worker that told figures is said to tell none any more: a late reading is no news."""
_MISSED = 3
"""Readings at the pace of the last two that must be missing, too: a large fleet is read less often."""


class _Noted(NamedTuple):
    epoch: int
    load: EngineLoad
    measured: float
    alone_since: float | None
    """Since when it has told these very figures of requests while no plane had one there."""

    def age(self, now: float) -> float:
        """Return the age that the figures are told with."""
        age = max(0.0, now - self.measured)
        since = self.alone_since
        return max(age, LOAD_UNKNOWN_AFTER) if since is not None and self.measured - since >= STUCK_AFTER else age


class _Heard(NamedTuple):
    epoch: int
    measured: float
    pause: float
    """Between the last two readings; infinite before there were two."""

    def is_silent(self, now: float) -> bool:
        return now - self.measured >= max(LOAD_SILENT_AFTER, _MISSED * self.pause)


class Loads:
    """Figures by worker id. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._noted: dict[str, _Noted] = {}
        self._heard: dict[str, _Heard] = {}

    def note(self, worker: Worker, load: EngineLoad, *, measured: float, inflight: int) -> None:
        """Take in what the present life of a worker told; `inflight` requests of all planes were there."""
        before = self._noted.get(worker.id)
        alone_since = None
        if not inflight and load.running + load.waiting > 0:
            alone_since = measured
            if before is not None and before.epoch == worker.epoch and before.load == load:
                alone_since = before.alone_since if before.alone_since is not None else measured
        heard = self._heard.get(worker.id)
        pause = measured - heard.measured if heard is not None and heard.epoch == worker.epoch else inf
        self._heard[worker.id] = _Heard(worker.epoch, measured, pause)
        self._noted[worker.id] = _Noted(worker.epoch, load, measured, alone_since)

    def report(self, workers: Mapping[str, Worker], *, now: float) -> dict[str, WorkerLoad]:
        """Return the figures of the workers' present lives that are not older than is of use.

        Those that are not believed are told with an age of `LOAD_UNKNOWN_AFTER` at least.
        """
        self._noted = {key: noted for key, noted in self._noted.items() if self._holds(key, noted, workers, now)}
        return {key: WorkerLoad(*noted.load, age=noted.age(now)) for key, noted in self._noted.items()}

    def silent(self, workers: Mapping[str, Worker], *, now: float) -> frozenset[str]:
        """Return the workers that told figures in their present life, and do not any more."""
        lives = {key: worker.epoch for key, worker in workers.items()}
        self._heard = {key: heard for key, heard in self._heard.items() if lives.get(key) == heard.epoch}
        return frozenset(key for key, heard in self._heard.items() if heard.is_silent(now))

    @staticmethod
    def _holds(key: str, noted: _Noted, workers: Mapping[str, Worker], now: float) -> bool:
        worker = workers.get(key)
        return worker is not None and worker.epoch == noted.epoch and now - noted.measured < LOAD_UNKNOWN_AFTER
