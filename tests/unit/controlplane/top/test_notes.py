from __future__ import annotations

from msgspec.structs import replace

from controlplane.top.notes import Note, notes
from tests.unit.controlplane.top.snapshots import fleet


def test_lost_traces_are_told_as_in_the_status() -> None:
    status = fleet().status
    before = notes(status)
    lost = Note("traces: 3 were lost in the last minute; the log says why")
    assert notes(replace(status, traces_lost=3)) == [*before, lost]
