"""What the control plane says to the planes: which message follows from which change, without a socket or a clock.

A publication is one life of the publisher. Its table starts empty at version 1 and only ever moves forward;
every message carries the table's stamp, so that a plane sees from any one of them whether it missed a change.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.messages import (
    Heartbeat,
    InflightReport,
    LearntReport,
    LoadReport,
    PlaneInflight,
    PlaneLearnt,
    Snapshot,
    TableUpdate,
    WorkerLoad,
)
from shared.table import ModelCard, RoutingTable, Settings, Worker, apply, diff, make_table


class Publication:
    """The current table of one epoch and the messages that tell of it."""

    def __init__(self, epoch: int, settings: Settings) -> None:
        self._table = make_table(epoch=epoch, version=1, settings=settings)
        self._load_seq = 0

    @property
    def table(self) -> RoutingTable:
        """The table as it was last published."""
        return self._table

    def change(self, workers: Iterable[Worker], models: Iterable[ModelCard], settings: Settings) -> TableUpdate | None:
        """Make this the table's content. Returns the update to publish, None when nothing is different."""
        wanted = RoutingTable(
            stamp=self._table.stamp,
            workers={worker.id: worker for worker in workers},
            models={model.id: model for model in models},
            settings=settings,
        )
        change = diff(self._table, wanted)
        if not change:
            return None
        self._table = apply(self._table, change)
        return TableUpdate(self._table.stamp, change)

    def heartbeat(self) -> Heartbeat:
        """Return the sign of life."""
        return Heartbeat(self._table.stamp)

    def snapshot(self, request_id: int) -> Snapshot:
        """Return the whole table, for the plane that asked with `request_id`."""
        table = self._table
        return Snapshot(
            request_id, table.stamp, tuple(table.workers.values()), tuple(table.models.values()), table.settings
        )

    def load(self, loads: dict[str, WorkerLoad]) -> LoadReport:
        """Return the next load report; ages in `loads` are those at sending."""
        self._load_seq += 1
        return LoadReport(self._table.stamp, self._load_seq, loads)

    def inflight(self, report: InflightReport) -> PlaneInflight:
        """Return a plane's in-flight report in the form that goes to the others."""
        return PlaneInflight(self._table.stamp, report.plane.id, report.seq, report.counts, report.prefill)

    def learnt(self, report: LearntReport) -> PlaneLearnt:
        """Return what a plane's policy has learnt in the form that goes to the others."""
        return PlaneLearnt(self._table.stamp, report.plane.id, report.policy, report.learnt, report.place)
