from __future__ import annotations

import pytest

from controlplane.cli.limits_view import AdmissionView, LimitView
from controlplane.cli.status_view import (
    BreakerView,
    ClientKeysView,
    ConfigView,
    PlaneView,
    ProcessView,
    RouterView,
    TableView,
    UplinkView,
    WorkerView,
    as_text,
    duration,
    failing_text,
    terminal_width,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (-1.0, "0.0s"),
        (0.26, "0.3s"),
        (9.9, "9.9s"),
        (59.9, "59s"),
        (192.0, "3m12s"),
        (3600.0, "1h0m"),
        (90_000.0, "1d1h"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_a_plane_that_waits_for_a_file_says_so() -> None:
    told = router()
    told.planes = [PlaneView(id="b", slot=1, pid=5, state="starting", waits_for="no key")]
    assert as_text(told).endswith("\n\nplane 1 takes no clients: no key")


def router(*workers: WorkerView) -> RouterView:
    table = TableView(epoch=1_790_000_000_000, version=123, hash="0" * 16)
    plane = PlaneView(
        id="a" * 16,
        slot=11,
        pid=4_194_304,
        state="draining",
        version="0.1.0",
        age=86_399.0,
        table=table,
        table_age=86_399.0,
        active=1234,
        client_connections=9872,
        client_connection_limit=9872,
    )
    return RouterView(
        supervisor=None,
        control_plane=ProcessView(pid=4_194_304, state="running", version="0.1.0", age=1.0),
        planes=[plane, PlaneView(id="b", slot=0, pid=5, state="starting")],
        workers=list(workers),
    )


@pytest.mark.parametrize(
    ("reached", "age", "line"),
    [
        (True, 0.2, "control plane at tcp://a:1: reached"),
        (False, None, "control plane at tcp://a:1: never reached; the log here says why"),
        (False, 75.0, "control plane at tcp://a:1: not reached for 1m15s; the log here says why"),
    ],
)
def test_a_host_without_a_control_plane_says_where_it_is(reached: bool, age: float | None, line: str) -> None:
    told = router()
    told.uplink = UplinkView(address="tcp://a:1", reached=reached, heard_age=age)
    lines = as_text(told).splitlines()
    assert line in lines
    assert lines[-1].startswith("no workers; the control plane names them")


def test_processes_of_other_code_are_named_with_what_to_do() -> None:
    told = router()
    told.supervisor = ProcessView(pid=7, state="running", wire="old")
    told.planes = [
        PlaneView(id=name, slot=slot, host=host, pid=5, state="serving", wire=wire)
        for name, slot, host, wire in [
            ("a", 0, "", "new"),
            ("b", 1, "", "old"),
            ("c", 0, "far", "old"),
            ("d", 2, "", ""),
        ]
    ]
    assert "other code" not in as_text(told)
    told.control_plane.wire = "new"
    said = [line for line in as_text(told).splitlines() if line.startswith("other code")]
    assert [line.partition("runs in ")[2].partition(";")[0] for line in said] == [
        "planes 1", "planes far/0", "the supervisor",
    ]  # fmt: skip
    assert "kill -9 7" in said[2]


def test_two_hosts_of_one_name_are_told_once() -> None:
    told = router()
    told.planes = [PlaneView(id=name, slot=0, host="b", pid=5, state="serving", has_namesake=True) for name in "xy"]
    assert as_text(told).count("two `routerctl plane` go by the name b; give each its own --name") == 1


def test_it_fits_80_columns() -> None:
    worker = WorkerView(
        id="http://gpu-server-1.rack-2.example.internal:8000",
        url="http://gpu-server-1.rack-2.example.internal:8000",
        state="unhealthy",
        reason="x" * 99,
    )
    lines = as_text(router(worker), 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert "plane 11       draining" in lines[3]
    assert "123 (23h59m)" in lines[3]
    assert lines[3].endswith("100%")
    assert lines[4].endswith("-")
    assert "unhealthy" in lines[-1]


def test_a_wide_terminal_shows_more_and_a_pipe_all() -> None:
    worker = WorkerView(id="http://w:1", url="http://w:1", state="unhealthy", reason="x" * 400)
    assert [as_text(router(worker), width).count("x") for width in (80, 300, None)] == [52, 272, 400]


@pytest.mark.parametrize(("columns", "width"), [("", None), ("x", None), ("0", None), ("40", 40), ("300", 300)])
def test_columns_says_where_lines_are_cut(columns: str, width: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    # The output of a test is no terminal.
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal_width() == width


def test_planes_that_are_missing_are_shown_and_who_starts_them() -> None:
    report = router()
    report.data_planes = 13
    report.supervisor = ProcessView(pid=1, state="running")
    lines = as_text(report).splitlines()
    assert lines[5].split() == ["plane", "1", "gone", *"-----", "-"]
    assert sum(" gone " in line for line in lines) == 11
    assert "nothing restarts" not in as_text(report)
    report.supervisor.state = "gone"
    hint = "2 of 13 planes; nothing restarts what dies until `routerctl start` takes over"
    assert hint in as_text(report, 80).splitlines()


def test_a_drained_worker_is_shown_as_such() -> None:
    worker = WorkerView(
        id="http://w:1", url="http://w:1", state="draining", reason="drained by an operator", drained=True
    )
    assert as_text(router(worker)).splitlines()[-1].split()[:2] == ["http://w:1", "drained"]


def test_roles_are_shown_where_there_are_any() -> None:
    regular = WorkerView(id="http://a:1", url="http://a:1", state="ready")
    prefill = WorkerView(id="http://b:1", url="http://b:1", state="ready", role="prefill")
    lines = [line.split() for line in as_text(router(regular, prefill)).splitlines()]
    start = next(number for number, line in enumerate(lines) if line[:1] == ["WORKER"])
    assert [line[3] for line in lines[start : start + 3]] == ["ROLE", "regular", "prefill"]
    assert "ROLE" not in as_text(router(regular))


def test_why_a_worker_is_left_out_comes_before_its_models() -> None:
    text = as_text(
        router(
            WorkerView(id="http://a:1", url="http://a:1", state="unhealthy", reason="refused", models=("m",)),
            WorkerView(id="http://b:1", url="http://b:1", state="ready", models=("m", "n")),
            WorkerView(id="http://c:1", url="http://c:1", state="starting"),
        )
    )
    assert "refused" in text
    assert "m, n" in text


def test_without_workers_it_says_what_to_do() -> None:
    assert "--worker-urls" in as_text(router())


def test_an_open_breaker_is_shown_with_its_reason_and_its_time() -> None:
    breaker = BreakerView(state="half-open", reason="failed 10 times", age=192.0)
    worker = WorkerView(id="http://w:1", url="http://w:1", state="ready", age=9000.0, models=("m",), breaker=breaker)
    assert as_text(router(worker)).splitlines()[-1].split("  ") == [
        "http://w:1", "breaker half-open", "3m12s", "failed 10 times",
    ]  # fmt: skip


def test_it_says_what_requests_fail_of() -> None:
    told = router(WorkerView(id="http://a", url="http://a", state="ready"))
    assert "fail" not in as_text(told)
    told.failing = {"over_capacity": 243.21, "queue_timeout": 0.1}
    line = "requests fail: over_capacity 243/s, queue_timeout 0.1/s (last 10 s; `routerctl report` tells more)"
    assert line in as_text(told).splitlines()


@pytest.mark.parametrize(("lost", "text"), [(1, "1 was lost"), (12, "12 were lost")])
def test_it_says_that_traces_are_lost(lost: int, text: str) -> None:
    told = router(WorkerView(id="http://a", url="http://a", state="ready"))
    assert "traces" not in as_text(told)
    told.traces_lost = lost
    assert as_text(told).splitlines()[-2:] == ["", f"traces: {text} in the last minute; the log says why"]


def test_a_file_that_is_not_in_use_is_told_with_the_reason() -> None:
    report = router()
    assert "r.toml" not in as_text(report)
    report.config = ConfigView(file="/etc/r.toml", state="in use")
    assert "r.toml" not in as_text(report)
    report.config = ConfigView(file="/etc/r.toml", state="changed")
    assert as_text(report).splitlines()[-2:] == [
        "/etc/r.toml:",
        "  it was changed and is not in use yet; `routerctl reload` takes it up",
    ]
    problem = f"/etc/r.toml:3: {'a long reason ' * 9}"
    report.config = ConfigView(file="/etc/r.toml", state="refused", problems=(problem,))
    assert as_text(report).splitlines()[-2:] == [
        f"  {problem}",
        "  `routerctl config rollback` puts that back",
    ]


def test_a_file_of_clients_keys_that_is_not_in_use_is_told_with_the_reason() -> None:
    report = router()
    report.client_keys = ClientKeysView(file="/etc/keys.toml", state="in use", keys=3)
    assert "keys.toml" not in as_text(report)
    problem = f"--client-keys-file /etc/keys.toml:7: {'a long reason ' * 9}"
    for count, told in (
        (3, "it is refused; the 3 keys that it held before are in use:"),
        (1, "it is refused; the 1 key that it held before is in use:"),
        (0, "it is refused, and no keys are in use: every client is refused:"),
    ):
        report.client_keys = ClientKeysView(file="/etc/keys.toml", state="refused", keys=count, problem=problem)
        assert as_text(report, 80).splitlines()[-4:] == [
            "",
            "/etc/keys.toml (--client-keys-file):",
            f"  {told}",
            f"  {problem}",
        ]


def test_limits_are_shown_where_there_are_any() -> None:
    report = router()
    assert "LIMIT" not in as_text(report)
    limit = LimitView(name="total", kind="slots", amount=24.0, in_use=24.0, wanted={"alice": 29.0})
    report.admission = AdmissionView(limits=[limit], waiting=5, more=3)
    told = as_text(report, 80).splitlines()
    at = told.index("LIMIT  OF  IN USE  FULL  WANTED BY")
    assert told[at - 1 : at + 4] == [
        "",
        "LIMIT  OF  IN USE  FULL  WANTED BY",
        "total  24  24      100%  alice 29",
        "and 3 more; --json has the fullest 50",
        "5 requests wait; full: total 24/24 (wanted: alice 29)",
    ]
    report.admission = AdmissionView(limits=[limit])
    assert as_text(report).splitlines()[-1] == "nobody waits"


def test_rates_of_causes_have_the_digits_of_their_sum_and_are_never_none() -> None:
    told = failing_text({"truncated": 0.989, "no_worker_available": 0.016, "over_capacity": 1234.5})
    assert told == "requests fail: truncated 1.0/s, no_worker_available 0.02/s, over_capacity 1234/s"
