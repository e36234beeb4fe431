"""A record's line as text and as JSON."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.log_output import ERROR_FILE, STRUCTURED_FILE, TEXT_FILE
from shared.logs import configure_logging, iso_time, plain


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Give pytest its logging back."""
    root = logging.getLogger()
    handlers, level, raises = list(root.handlers), root.level, logging.raiseExceptions
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raises


def test_the_three_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    output = configure_logging("plane 3", "info", log_format="json", folder=str(tmp_path))
    log = logging.getLogger("some.part")
    log.debug("not this")
    log.info("worker %s is ready", "a")
    try:
        raise ValueError("x")
    except ValueError:
        log.exception("it \udcff failed")
    output.close()
    text = (tmp_path / TEXT_FILE).read_text().splitlines()
    assert re.fullmatch(r"[-\d]{10} [:\d]{8} INFO plane 3: worker a is ready", text[0])
    assert text[-1] == "ValueError: x"
    assert "Traceback" in (tmp_path / ERROR_FILE).read_text()
    events = [json.loads(line) for line in (tmp_path / STRUCTURED_FILE).read_text().splitlines()]
    assert [(one["level"], one["process"], one["logger"]) for one in events] == [
        ("info", "plane 3", "some.part"),
        ("error", "plane 3", "some.part"),
    ]
    assert events[0]["message"] == "worker a is ready"
    assert events[1]["exception"].endswith("ValueError: x")
    assert [json.loads(line)["kind"] for line in capfd.readouterr().err.splitlines()] == ["event", "event"]


def test_a_record_that_can_not_be_formatted_fails_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    output = configure_logging("plane 3", "info")
    logging.getLogger("x").info("%d", "no number")
    logging.getLogger("x").info("next")
    output.close()
    assert capfd.readouterr().err.endswith("INFO plane 3: next\n")


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40))
def test_no_value_breaks_out_of_its_line(value: str) -> None:
    shown = plain(value)
    assert shown.isascii()
    assert shown.isprintable()
    assert shown == value or (shown[0] == shown[-1] == '"' and '"' not in shown[1:-1].replace('\\"', ""))


def test_times() -> None:
    assert iso_time(0.0625) == "1970-01-01T00:00:00.062Z"
