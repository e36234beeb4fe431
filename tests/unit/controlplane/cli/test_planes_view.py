import msgspec

from controlplane.cli.planes_view import PlaneRestart, Restarted, list_text, restarted_text
from controlplane.cli.status_view import PlaneView, TableView

PLANE = PlaneView(
    id="a",
    slot=1,
    pid=4711,
    state="draining",
    version="0.1.0",
    age=75.0,
    table=TableView(epoch=1, version=12, hash="00"),
    table_age=3.25,
    active=4,
    client_connections=7,
    client_connection_limit=400,
)


def test_the_list() -> None:
    assert list_text([PLANE, PlaneView(id="b", slot=2, pid=1, state="silent")]).splitlines() == [
        "PLANE  STATE     PID   VERSION  AGE    TABLE      OPEN  CONNECTIONS",
        "1      draining  4711  0.1.0    1m15s  12 (3.2s)  4     7 of 400",
        "2      silent    1     -        -      -          -     -",
    ]
    assert list_text([]) == "no planes"


def test_a_plane_that_is_missing_has_a_line() -> None:
    elsewhere = msgspec.structs.replace(PLANE, slot=0, host="h")
    assert [line.split()[:2] for line in list_text([elsewhere, PLANE], 2).splitlines()[1:]] == [
        ["h/0", "draining"],
        ["1", "draining"],
        ["0", "gone"],
        ["1", "of"],
    ]


def test_a_roll_that_stopped_is_told_plane_by_plane() -> None:
    def plane(slot: int, outcome: str, new_pid: int | None = None, reason: str = "") -> PlaneRestart:
        return PlaneRestart(slot=slot, outcome=outcome, old_pid=slot, new_pid=new_pid, seconds=0.5, reason=reason)

    planes = (plane(0, "restarted", 9), plane(1, "failed", reason="exited with code 1"), plane(2, "untouched"))
    assert restarted_text(Restarted(outcome="stopped", reason="at plane 1", planes=planes)).splitlines() == [
        "plane 0: pid 9 serves after 0.5s; pid 0 drains",
        "plane 1: pid 1 goes on: exited with code 1",
        "plane 2: pid 2 was not touched",
        "stopped: at plane 1",
    ]
