"""What planes tell of prefill and decode workers as pairs, put together, said once, and shown."""

from __future__ import annotations

from controlplane.cli.pairs_view import MOST_LINES, OpenPairView, PairView, pair_lines
from controlplane.pairs import PATIENCE, OpenPairStatus, OpenPairWatch, PairStatus, PairWatch, pair_status
from controlplane.planes import SILENT_AFTER, Planes
from shared.plane_report import OpenPair, PairReport
from tests.unit.controlplane.reports import identity, report

FINE = PairReport()
APART = PairReport("p runs version 1, d runs 2")


def test_it_is_said_once_that_there_is_no_pair_and_once_that_there_is_one_again() -> None:
    watch = PairWatch()
    assert watch.look([FINE], 0.0) is None
    assert watch.look([APART], 1.0) is None
    assert watch.look([APART], 1.0 + PATIENCE) == APART.missing
    assert watch.look([APART], 2.0 + PATIENCE) is None
    # Nobody speaks: nothing is known.
    assert watch.look([], 3.0 + PATIENCE) is None
    assert watch.look([FINE], 4.0 + PATIENCE) == ""
    assert watch.look([FINE], 5.0 + PATIENCE) is None


def test_another_reason_is_news_when_it_stands() -> None:
    watch = PairWatch()
    other = PairReport("no prefill worker is ready")
    assert watch.look([other], 0.0) is None
    assert watch.look([other], PATIENCE) == other.missing
    assert watch.look([APART], PATIENCE + 1) is None
    assert watch.look([other], PATIENCE + 2) is None
    assert watch.look([APART], PATIENCE + 3) is None
    assert watch.look([APART], 2 * PATIENCE + 3) == APART.missing
    assert watch.look([FINE], 2 * PATIENCE + 4) == ""


def test_what_is_over_soon_is_no_news() -> None:
    watch = PairWatch()
    for now in range(100):
        assert watch.look([APART if now % 4 else FINE], float(now)) is None


def test_a_fleet_has_a_pair_while_one_plane_has_one() -> None:
    watch = PairWatch()
    assert not any(watch.look([APART, FINE], float(now)) for now in range(100))
    assert pair_status([APART, FINE]).missing == ""
    assert pair_status([APART, APART]).missing == APART.missing


def test_a_pair_that_is_left_out_is_said_once_and_again_when_it_is_back() -> None:
    watch = OpenPairWatch()
    cut = PairReport(open=(OpenPair("p", "d", 4.0),), opened=1)
    assert watch.look([FINE]) == ([], [])
    assert watch.look([cut, FINE]) == ([("p", "d")], [])
    assert watch.look([cut, cut]) == ([], [])
    # Nobody speaks: nothing is known.
    assert watch.look([]) == ([], [])
    # So many that not all are told.
    assert watch.look([PairReport(open=(OpenPair("p", "e", 4.0),), opened=40)]) == ([], [])
    assert watch.look([FINE, FINE]) == ([], [("p", "d")])


def test_what_planes_leave_out_is_put_together() -> None:
    told = [
        PairReport(open=(OpenPair("p", "d", 4.0), OpenPair("p", "e", 1.0)), opened=40),
        PairReport(open=(OpenPair("p", "d", 2.0),), opened=1),
    ]
    assert pair_status(told) == PairStatus(
        open=(
            OpenPairStatus(prefill="p", decode="d", planes=2, seconds=2.0),
            OpenPairStatus(prefill="p", decode="e", planes=1, seconds=1.0),
        ),
        opened=40,
    )


def test_a_plane_that_fell_silent_tells_nothing_any_more() -> None:
    planes = Planes()
    planes.counters(report(identity("a"), pairs=APART), 10.0)
    planes.counters(report(identity("b", slot=1), pairs=FINE), 9.0 - SILENT_AFTER)
    planes.counters(report(identity("c", slot=2)), 10.0)
    assert planes.pair_reports(10.0) == (APART,)


def test_pairs_are_worth_a_line_when_something_is_wrong_with_them() -> None:
    assert not [*pair_lines(None)]
    assert not [*pair_lines(PairView())]
    some = [OpenPairView(prefill="p", decode="d", planes=1, seconds=3.6)] * (MOST_LINES + 1)
    some[1] = OpenPairView(prefill="p", decode="e", planes=2, seconds=0.0)
    lines = [*pair_lines(PairView(missing="no prefill worker is ready", open=some, opened=30))]
    assert lines[1:4] == [
        "no prefill worker can hand over to a decode worker: no prefill worker is ready",
        "breaker of the pair p, d is open on 1 plane; tried again in 4 s",
        "breaker of the pair p, e is open on 2 planes; tried again by the next request",
    ]
    assert lines[-1] == f"and {30 - MOST_LINES} more pairs"
    assert len(lines) == MOST_LINES + 3
