from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from controlplane.cli.requests_view import as_text
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
        ),
    )
    assert as_text(told, NOON + 2.5, None).splitlines() == [
        "30 open, the oldest 2 of them:",
        "AT        REQUEST  STATE      TOOK  FIRST BYTE  WORKERS  MODEL  PLANE  PATH",
        "12:00:00  a        answering  2.5s  250ms       w:1      m      0      /v1/completions",
        "12:00:00  b        queued     2.5s  -           -        -      0      /v1/completions",
        "",
        "the last that have ended:",
        "AT        REQUEST  STATE              TOOK   FIRST BYTE  WORKERS    MODEL  PLANE  PATH",
        "12:00:00  c        200                1m15s  1.5s        w:1 > w:2  m      0      /v1/completions",
        "12:00:00  d        aborted by client  4ms    -           -          m      0      /v1/completions",
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
    assert head.split()[-3:] == ["MODEL", "PLANE", "PATH"]
    assert first.endswith("  0      /v1/completions")
    assert "  org/a-model-wit...-long-name-fp8  " in first
    assert f"  {'a' * 31}...{'a' * 29}z  " in first
    # What is read by programs, or from a pipe, is whole.
    assert model in as_text(told, NOON, None)
