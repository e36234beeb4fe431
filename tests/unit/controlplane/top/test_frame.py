"""Frames of `routerctl top`, held against files in `golden/`; run as a module it writes them anew."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len

from controlplane.cli.top import picture
from controlplane.top.frame import Screen, frame
from controlplane.top.snapshot import Event, Seen, Snapshot, Times
from controlplane.top.source import EVENTS
from controlplane.top.terminal import styled
from controlplane.top.turns import PAGE
from controlplane.top.view import ORDERS, View, Wish
from tests.unit.controlplane.top.snapshots import WHERE, fleet, large, limited, seen, snapshot, troubled, worker

GOLDEN = Path(__file__).parent / "golden"
DOCS = Path(__file__).parents[4] / "docs" / "monitor.md"
W4 = "http://10.0.0.4:8000"
WIDE = Screen(80, 24)
ANY = View()

CASES: dict[str, tuple[Seen, View, Screen]] = {
    "80x24": (seen(fleet()), View(chosen=W4), WIDE),
    "80x24-letters": (seen(fleet()), View(order="load"), Screen(80, 24)),
    "80x24-large": (seen(large()), View(chosen="http://10.0.0.250:8000"), WIDE),
    "80x24-confirm": (seen(fleet()), View(mode="confirm", chosen=W4, asked=Wish("drain", W4)), WIDE),
    "80x24-filter": (seen(fleet()), View(mode="filter", filter="prefill"), WIDE),
    "80x24-help": (seen(fleet()), View(mode="help"), WIDE),
    "80x24-gone": (seen(fleet(), problem="Connection refused", age=12.0), View(), WIDE),
    "80x24-never": (seen(None, problem="Connection refused"), View(), WIDE),
    "80x24-troubled": (seen(troubled()), View(), WIDE),
    "120x40-troubled": (seen(troubled()), View(), Screen(120, 40)),
    "80x24-limits": (seen(limited()), View(), WIDE),
    "120x40": (seen(fleet()), View(), Screen(120, 40)),
    "40x12": (seen(fleet()), View(chosen=W4), Screen(40, 12)),
    "20x5": (seen(fleet()), View(chosen=W4), Screen(20, 5)),
}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def text(of: Seen, view: View = ANY, screen: Screen = WIDE) -> str:
    return "\n".join(line.plain.rstrip() for line in frame(of, view, screen)) + "\n"


def drawn(name: str) -> str:
    of, view, screen = CASES[name]
    return text(of, view, screen if name == "80x24-letters" else screen._replace(is_ascii=True))


@pytest.mark.parametrize("name", CASES)
def test_a_frame_is_as_it_was(name: str) -> None:
    assert drawn(name) == (GOLDEN / f"{name}.txt").read_text()


def test_the_picture_in_the_documents_is_a_frame() -> None:
    assert drawn("80x24-letters") in DOCS.read_text()


@given(
    of=st.sampled_from(
        [
            *map(seen, (fleet(), troubled(), large(40), snapshot())),
            seen(None, problem="x"),
            seen(fleet(), problem="x" * 200),
        ]
    ),
    view=st.builds(
        View,
        mode=st.sampled_from(["list", "help", "filter", "confirm"]),
        order=st.sampled_from(list(ORDERS)),
        is_reversed=st.booleans(),
        filter=st.sampled_from(["", "10.0.0.2", "nothing"]),
        chosen=st.sampled_from(["", W4, "http://gone"]),
        asked=st.just(Wish("undrain", W4)),
        is_paused=st.booleans(),
    ),
    width=st.integers(1, 200),
    height=st.integers(1, 60),
)
@settings(max_examples=150, deadline=None)
def test_a_frame_fits_every_screen(of: Seen, view: View, width: int, height: int) -> None:
    lines = frame(of, view, Screen(width, height))
    assert len(lines) <= height
    assert all(cell_len(line.plain) <= width for line in lines)
    if height > 4:
        assert len(lines) == height


@pytest.mark.parametrize("height", [6, 10, 24, 60])
@pytest.mark.parametrize("chosen", [0, 1, 137, 498, 499])
def test_the_chosen_worker_is_in_sight(height: int, chosen: int) -> None:
    lines = text(seen(large()), View(chosen=f"http://10.0.0.{chosen}:8000"), Screen(80, height)).splitlines()
    (marked,) = [line for line in lines if line.startswith(">")]
    assert marked.split()[0] == f">10.0.0.{chosen}:8000"


def test_a_workers_load_is_drawn_against_its_capacity_or_the_busiest_of_its_role() -> None:
    told = text(seen(snapshot(worker(2), worker(4), worker(1, capacity=4.0), worker(3, role="decode"))))
    bars = {
        line.split()[0].lstrip(">"): line.split()[2] for line in told.splitlines() if line[1:].startswith("10.0.0.")
    }
    assert bars == {
        "10.0.0.3:8000": "████████",
        "10.0.0.1:8000": "██████░░",
        "10.0.0.2:8000": "████░░░░",
        "10.0.0.4:8000": "████████",
    }


def test_names_are_in_the_order_of_their_numbers() -> None:
    told = text(seen(snapshot(*(worker(number) for number in (10, 9, 100)))))
    names = [line[1:].split()[0] for line in told.splitlines() if line[1:].startswith("10.0.0.")]
    assert names == ["10.0.0.9:8000", "10.0.0.10:8000", "10.0.0.100:8000"]


def test_nothing_that_others_wrote_reaches_the_terminal_as_an_order() -> None:
    evil = "\x1b]0;x\x07\x1b[2J\n"
    of = snapshot(worker(1, id=f"http://a{evil}", reason=evil, models=(evil,), state="unhealthy"))
    of = replace(of, events=[Event(time=0.0, level="error", text=evil)])
    lines = frame(seen(of, problem=evil), View(chosen="http://a" + evil, message=evil), Screen(200, 40))
    assert not any("\x1b" in line.plain or "\n" in line.plain or "\x07" in line.plain for line in lines)


def test_without_colour_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = frame(seen(fleet()), View(), WIDE)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert any("\x1b[33m" in line or "\x1b[31m" in line for line in styled(lines, 80))
    monkeypatch.setenv("NO_COLOR", "1")
    uncoloured = "".join(styled(lines, 80))
    assert "\x1b[3" not in uncoloured.replace("\x1b[3m", "")
    monkeypatch.setenv("TERM", "dumb")
    assert not any("\x1b" in line for line in styled(lines, 80))


def test_planes_that_do_not_serve_are_seen_among_many() -> None:
    of = snapshot(worker(1), planes=40)
    planes = list(of.status.planes)
    planes[33] = replace(planes[33], state="stale", table_age=75.0, version="0.0.9")
    of = replace(of, status=replace(of.status, planes=planes))
    told = text(seen(of))
    assert "plane 33 stale  v17 1m15s" in told
    assert "is 0.0.9" in told
    assert "planes more, of which" in told


@pytest.mark.parametrize("width", [30, 60, 78, 79, 80, 81, 140])
def test_no_figure_of_the_head_is_shown_in_part(width: int) -> None:
    of = fleet()
    traffic = of.summary.traffic
    assert traffic is not None
    of = replace(
        of, summary=replace(of.summary, traffic=replace(traffic, requests=1234.0, duration=Times(p50=0.144, p95=0.242)))
    )
    told = text(seen(of), ANY, Screen(width, 40))
    assert " 144ms/242ms\n" in told
    assert "open 57\n" in told


def test_a_line_that_is_cut_shows_it() -> None:
    of = replace(fleet(), events=[Event(time=0.0, level="info", text="x" * 100)])
    lines = text(seen(of)).splitlines()
    assert "00:00:00 " + "x" * 70 + "~" in lines


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        ("Connection refused", "NOT REACHED, figures are 12s old: Connection refused; trying again"),
        (f"{WHERE}: Connection refused", "NOT REACHED, figures are 12s old: Connection refused; trying again"),
        (
            f"{WHERE} does not answer (not within 2 s), and",
            "NOT REACHED, figures are 12s old: it does not answer (not within 2 s), and",
        ),
        (
            f"no admin API answers at {WHERE} (refused); name",
            "NOT REACHED, figures are 12s old: no admin API answers (refused); name",
        ),
    ],
)
def test_why_it_is_not_reached_has_room(problem: str, told: str) -> None:
    assert text(seen(fleet(), problem=problem, age=12.0)).splitlines()[1].startswith(told)


def test_what_happened_to_a_worker_of_a_long_name_can_be_read() -> None:
    name = "http://a-rather-long-name-of-a-worker-in-some-namespace.svc.cluster.local:8000"
    other = name.replace("a-rather", "b-rather")
    of = snapshot(worker(1, id=name, state="unhealthy", reason="no answer"), worker(2, id=other))
    happened = f"worker {name} is unhealthy (was ready): x"
    of = replace(of, events=[Event(time=0.0, level="info", text=happened)])
    lines = text(seen(of), View(mode="confirm", chosen=name, asked=Wish("drain", name))).splitlines()
    assert "00:00:00 worker a-rather-lo...local:8000 is unhealthy (was ready): x" in lines
    assert lines[-1].startswith("drain a-rather-lo...ocal:8000? no new requests, 3 open ones go on  y yes, n no")
    assert any(line.startswith(" b-rather") and "...ocal:8000 ready" in line for line in lines)
    assert any(line.startswith("a-rather-lo...local:8000 unhealthy for 1h2m; no answer") for line in lines)
    wide = text(seen(of), ANY, Screen(140, 24))
    assert f"00:00:00 {happened}\n" in wide


def test_a_high_screen_shows_as_many_events_as_it_has_room_for() -> None:
    events = [Event(time=0.0, level="info", text=f"event {number}") for number in range(EVENTS)]
    lines = text(seen(replace(fleet(), events=events)), ANY, Screen(140, 40)).splitlines()
    assert lines[-2].endswith(f"event {EVENTS - 1}")
    assert sum(" event " in line for line in lines) >= 20
    assert sum(not line for line in lines) <= 2


def test_a_printed_frame_speaks_of_no_keys() -> None:
    printed = picture(fleet(), WHERE, ANY)
    assert " 10.0.0.1:8000 ready" in printed
    assert ">" not in printed
    assert "http://10.0.0.1:8000 ready for" not in printed, "nobody chose it"
    assert "no worker has this text" in picture(fleet(), WHERE, View(filter="nothing")).splitlines()


def test_a_page_is_less_than_a_screen() -> None:
    assert PAGE < 24


def test_rates_that_are_not_known_yet() -> None:
    assert "rates and times come in a few seconds" in text(seen(snapshot(worker(1), traffic=False)))
    nothing: Snapshot = snapshot()
    assert "no workers" in text(seen(nothing))


def write() -> None:
    os.environ["TZ"] = "UTC"
    time.tzset()
    GOLDEN.mkdir(exist_ok=True)
    for name in CASES:
        (GOLDEN / f"{name}.txt").write_text(drawn(name))


if __name__ == "__main__":
    write()


@pytest.mark.parametrize(("inflight", "said"), [(0, "0 open ones go on"), (1, "1 open one goes on")])
def test_one_open_request_is_said_as_one(inflight: int, said: str) -> None:
    known = snapshot(worker(1, inflight=inflight))
    name = known.status.workers[0].id
    assert said in text(seen(known), View(mode="confirm", chosen=name, asked=Wish("drain", name)))
