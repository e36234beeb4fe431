"""When a change has reached every plane, and when none of them has anything left at a worker."""

import pytest

from controlplane.planes import FOLDED_AFTER, LOST_AFTER, SILENT_AFTER, Planes
from controlplane.silent_planes import silence
from shared.messages import Ack, InflightReport
from shared.plane_identity import PlaneIdentity
from shared.plane_report import CounterReport
from shared.table import Stamp

FAR = PlaneIdentity(id="far", slot=0, pid=3, version="x", started=0.0, host="edge")
ONE = PlaneIdentity(id="one", slot=0, pid=1, version="x", started=0.0)
TWO = PlaneIdentity(id="two", slot=1, pid=2, version="x", started=0.0)
OLD, NEW = Stamp(1, 1, 0), Stamp(1, 2, 0)


def report(plane: PlaneIdentity, table: Stamp, inflight: dict[str, int]) -> CounterReport:
    return CounterReport(
        plane=plane,
        seq=1,
        active=0,
        table=table,
        table_age=0.0,
        stale=False,
        draining=False,
        waits_for="",
        resyncs=0,
        inflight=inflight,
        client_connections=0,
        client_connection_limit=0,
        worker_connections=0,
        kv_blocks=5,
        kv_resyncs=0,
        load_age=None,
        retry_budget=0.0,
        counters=(),
        histograms=(),
        outcomes={},
        lacks=(),
        pairs=None,
        exemplars=(),
    )


def test_a_table_is_served_when_every_plane_that_serves_at_all_has_acknowledged_it() -> None:
    planes = Planes()
    assert planes.serve(NEW.order)
    planes.hear(ONE, 0.0)
    assert planes.serve(NEW.order)
    planes.acked(Ack(ONE, OLD), 0.0)
    planes.acked(Ack(TWO, NEW), 0.0)
    assert not planes.serve(NEW.order)
    planes.acked(Ack(ONE, NEW), 0.0)
    assert planes.serve(NEW.order)


def test_a_report_from_before_the_table_says_nothing_of_what_came_after() -> None:
    planes = Planes()
    planes.acked(Ack(ONE, OLD), 0.0)
    planes.counters(report(ONE, OLD, {}), 0.0)
    planes.acked(Ack(ONE, NEW), 0.0)
    assert not planes.is_idle("a", NEW.order)
    planes.counters(report(ONE, NEW, {"a": 1}), 0.0)
    assert not planes.is_idle("a", NEW.order)
    planes.counters(report(ONE, NEW, {"b": 1}), 0.0)
    assert planes.is_idle("a", NEW.order)
    planes.inflight(InflightReport(ONE, 2, {"a": 1}, {}, 0), 0.0)
    assert not planes.is_idle("a", NEW.order)


def test_a_plane_that_is_gone_has_nothing_anywhere() -> None:
    planes = Planes()
    planes.acked(Ack(ONE, OLD), 0.0)
    assert planes.fold_silent(5.0, lambda _: True)
    assert planes.serve(NEW.order)
    assert planes.is_idle("a", NEW.order)


@pytest.mark.parametrize("stamp", [OLD, NEW])
def test_a_silent_plane_goes_on_to_have_what_it_had(stamp: Stamp) -> None:
    planes = Planes()
    planes.acked(Ack(ONE, stamp), 0.0)
    planes.counters(report(ONE, stamp, {"a": 1}), 0.0)
    planes.acked(Ack(TWO, NEW), FOLDED_AFTER)
    planes.counters(report(TWO, NEW, {}), FOLDED_AFTER)
    assert planes.fold_silent(FOLDED_AFTER, lambda _: False) == ()
    assert not planes.is_idle("a", NEW.order)
    assert [plane.identity for plane in planes.silent_at("a", NEW.order, FOLDED_AFTER)] == [ONE]
    # Its process is gone.
    assert planes.fold_silent(FOLDED_AFTER + 1, lambda _: True)
    assert planes.is_idle("a", NEW.order)
    assert planes.silent_at("a", NEW.order, FOLDED_AFTER + 1) == ()


def test_a_silent_plane_that_had_told_of_nothing_there_holds_up_nobody() -> None:
    planes = Planes()
    planes.acked(Ack(ONE, NEW), 0.0)
    planes.counters(report(ONE, NEW, {"b": 1}), 0.0)
    planes.fold_silent(FOLDED_AFTER, lambda _: False)
    assert planes.is_idle("a", NEW.order)
    assert planes.silent_at("a", NEW.order, FOLDED_AFTER) == ()


def test_a_plane_that_an_earlier_control_plane_knew_has_to_tell_anew() -> None:
    planes = Planes()
    planes.restore(Planes().totals(), [report(ONE, OLD, {"a": 1})], alive={"one"}, now=0.0)
    assert not planes.is_idle("a", NEW.order)
    planes.acked(Ack(ONE, NEW), 1.0)
    planes.counters(report(ONE, NEW, {}), 1.0)
    assert planes.is_idle("a", NEW.order)


def test_a_plane_on_another_host_holds_until_it_counts_as_dead() -> None:
    planes = Planes()
    planes.acked(Ack(FAR, OLD), 0.0)
    planes.counters(report(FAR, OLD, {}), 0.0)
    planes.fold_silent(LOST_AFTER - 1, lambda _: True)
    assert not planes.is_idle("a", NEW.order)
    assert planes.fold_silent(LOST_AFTER, lambda _: False)
    assert planes.is_idle("a", NEW.order)


def test_which_planes_are_silent_is_said_and_what_ends_it() -> None:
    planes = Planes()
    for identity in (ONE, TWO, FAR):
        planes.acked(Ack(identity, OLD), 0.0)
    assert silence(planes.silent_at("a", NEW.order, SILENT_AFTER)) == ""
    planes.acked(Ack(TWO, OLD), SILENT_AFTER)
    told = silence(planes.silent_at("a", NEW.order, SILENT_AFTER + 1))
    assert told == (
        "plane 0 (pid 1), plane edge/0 (pid 3) are silent and may still send there, until each is heard or ended; "
        "one on another host counts as gone after 300 s of silence"
    )
    planes.acked(Ack(FAR, OLD), SILENT_AFTER + 1)
    told = silence(planes.silent_at("a", NEW.order, SILENT_AFTER + 1))
    assert told == "plane 0 (pid 1) is silent and may still send there, until it is heard or ended"
