"""When a change has reached every plane, and when none of them has anything left at a worker."""

from controlplane.planes import Planes
from shared.messages import Ack, InflightReport
from shared.plane_identity import PlaneIdentity
from shared.plane_report import CounterReport
from shared.table import Stamp

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
