"""The newest figures of each worker's engine, with their age. Newest wins, and old ones are forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from controlplane.load_page import EngineLoad
from shared.messages import LOAD_UNKNOWN_AFTER, WorkerLoad
from shared.table import Worker


class _Noted(NamedTuple):
    epoch: int
    load: EngineLoad
    measured: float


class Loads:
    """Figures by worker id. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._noted: dict[str, _Noted] = {}

    def note(self, worker: Worker, load: EngineLoad, *, measured: float) -> None:
        """Take in what the present life of a worker told."""
        self._noted[worker.id] = _Noted(worker.epoch, load, measured)

    def report(self, workers: Mapping[str, Worker], *, now: float) -> dict[str, WorkerLoad]:
        """Return the figures that still hold: of the workers' present lives, and not older than is of use."""
        self._noted = {key: noted for key, noted in self._noted.items() if self._holds(key, noted, workers, now)}
        return {key: WorkerLoad(*noted.load, age=max(0.0, now - noted.measured)) for key, noted in self._noted.items()}

    @staticmethod
    def _holds(key: str, noted: _Noted, workers: Mapping[str, Worker], now: float) -> bool:
        worker = workers.get(key)
        return worker is not None and worker.epoch == noted.epoch and now - noted.measured < LOAD_UNKNOWN_AFTER
