from __future__ import annotations

from msgspec.structs import replace

from controlplane.cli.kubernetes_view import KubernetesView
from controlplane.top.notes import Note, notes
from tests.unit.controlplane.top.snapshots import fleet


def test_lost_traces_are_told_as_in_the_status() -> None:
    status = fleet().status
    before = notes(status)
    lost = Note("traces: 3 were lost in the last minute; the log says why")
    assert notes(replace(status, traces_lost=3)) == [*before, lost]


def test_pods_that_nobody_tells_of_are_told_as_in_the_status() -> None:
    status = fleet().status
    before = notes(status)
    assert notes(replace(status, kubernetes=KubernetesView(state="following", age=9.0))) == before
    gone = KubernetesView(state="unreached", age=65.0, reason="connection refused")
    (said,) = (note for note in notes(replace(status, kubernetes=gone)) if note not in before)
    assert said == Note("Kubernetes: no word of pods for 1m5s, workers stay as they were: connection refused")
