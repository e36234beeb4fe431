from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.cli.requests_view import as_text, fitted
from shared.request_lines import RequestLine, RequestLines

NOON = 1_795_262_400.0


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def line(name: str, **more: object) -> RequestLine:
    whole = {"plane": "0", "method": "POST", "path": "/v1/completions", "model": "m", "arrived": NOON, **more}
    return RequestLine(request=name, **whole)  # type: ignore[arg-type]


def test_open_ones_and_the_last_ones() -> None:
    told = RequestLines(
        active=30,
        open=(
            line("a", phase="answering", workers=("http://w:1",), first_byte=0.25),
            line("b", phase="queued", model=None),
        ),
        ended=(
            line("c", outcome="answered", status=200, workers=("http://w:1", "http://w:2"), first_byte=1.5, ended=75.0),
            line("d", outcome="aborted by client", ended=0.004),
            line("e", outcome="rejected over_capacity", status=503, ended=0.001),
        ),
    )
    assert as_text(told, NOON + 2.5, None).splitlines() == [
        "30 open, the oldest 2 of them:",
        "AT        REQUEST  STATE      WORKERS  MODEL  TOOK  FIRST BYTE  PLANE  PATH",
        "12:00:00  a        answering  w:1      m      2.5s  250ms       0      /v1/completions",
        "12:00:00  b        queued     -        -      2.5s  -           0      /v1/completions",
        "",
        "the last that have ended:",
        "AT        REQUEST  STATE              WORKERS    MODEL  TOOK   FIRST BYTE  PLANE  PATH",
        "12:00:00  c        200                w:1 > w:2  m      1m15s  1.5s        0      /v1/completions",
        "12:00:00  d        aborted by client  -          m      4ms    -           0      /v1/completions",
        "12:00:00  e        503 over_capacity  -          m      1ms    -           0      /v1/completions",
    ]


def test_nothing_is_said_in_words() -> None:
    assert as_text(RequestLines(), NOON, 80) == "0 open\n\nno request has ended lately"
    assert as_text(RequestLines(), NOON, 80, troubled=True).endswith("nothing went wrong lately")


def test_lines_are_cut_and_give_a_terminal_no_orders() -> None:
    told = RequestLines(active=1, open=(line("\x1b[2J" + "x" * 200, phase="waiting", model="\n"),))
    shown = as_text(told, NOON - 5.0, 80)
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) == 80
    assert "0ms" in as_text(RequestLines(active=1, open=(line("a", phase="waiting"),)), NOON - 5.0, 200)


def test_a_long_name_is_cut_in_its_middle_and_leaves_the_other_columns_in_sight() -> None:
    model = "org/a-model-with-a-very-long-name-" * 4 + "fp8"
    told = RequestLines(
        active=2, open=(line("a" * 150 + "z", phase="waiting", model=model), line("b", phase="waiting"))
    )
    _, head, first, *_ = as_text(told, NOON, 200).splitlines()
    assert head.split()[-2:] == ["PLANE", "PATH"]
    assert first.endswith("  0      /v1/completions")
    assert "  org/a-model-wit...-long-name-fp8  " in first
    assert f"  {'a' * 31}...{'a' * 29}z  " in first


def test_in_a_pipe_names_are_whole_and_pad_no_other_line() -> None:
    model = "/models/" + "x" * 162
    told = RequestLines(active=2, open=(line("a", phase="waiting", model=model), line("b", phase="waiting")))
    _, head, first, second, *_ = as_text(told, NOON, None).splitlines()
    assert model in first
    assert max(len(head), len(second)) < 100


def test_a_narrow_terminal_shows_who_what_where_and_which_model() -> None:
    uuid = "0af7651916cd43dd8448eb211c80319c0000"
    refused = line(uuid, outcome="rejected workers_unreachable", status=502, ended=0.1, model="m" * 170)
    answered = line(uuid, outcome="answered", status=200, ended=0.1, workers=("http://10.0.0.17:8000",), model="llama")
    shown = as_text(RequestLines(ended=(refused, answered)), NOON, 80).splitlines()
    assert [row for row in shown if len(row) > 80] == []
    *_, head, first, second = shown
    assert head.split() == ["AT", "REQUEST", "STATE", "WORKERS", "MODEL"]
    assert "  502 workers_unreachable  " in first
    assert "  10.0.0.17:8000  " in second
    assert second.endswith("llama")
    # Where there is room for all, nothing is cut.
    assert uuid in as_text(RequestLines(ended=(answered,)), NOON, 120)


@given(st.lists(st.integers(1, 64), min_size=9, max_size=9), st.integers(1, 300))
@settings(max_examples=100, deadline=None)
def test_columns_are_made_smaller_only_as_far_as_they_have_to(sizes: list[int], width: int) -> None:
    made = fitted(sizes, width)
    needed = sum(made[:5]) + 8
    assert all(new <= old for new, old in zip(made, sizes, strict=True))
    assert needed <= width or all(size <= least for size, least in zip(made, (8, 12, 24, 16, 12), strict=False))
    assert made == sizes or needed >= width
