"""The access log's lines, which requests get one, and that none waits."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable

import pytest

from dataplane.access_lines import Ended, access_line, as_json, as_text, level_of
from dataplane.access_log import FAILURES_PER_SECOND, MOST_ROWS, AccessLog
from dataplane.receipts import NOTHING, Row, Try
from dataplane.usage import Usage
from shared.log_output import LogOutput
from shared.table import Stamp

STAMP = Stamp(3, 7, 0)


def row(outcome: str = "answered", status: int = 200, *tries: Try, path: str = "/v1/completions") -> Row:
    tail = (None, "random", STAMP, tries, NOTHING)
    return (b"id-1", "POST", path, "m", (10.0, 10.25, 11.5), outcome, status, *tail)


def failed() -> Try:
    one = Try("http://a", 10.0, None)
    one.failed = "no connection"
    return one


ENDED = Ended(
    logging.INFO, row("answered", 200, failed(), Try("http://b", 10.1, None)), "", ("10.0.0.9", 5), Usage(13, 6, 8)
)


def test_json() -> None:
    line = json.loads(as_json(access_line(ENDED, "plane 1", 1000.0)))
    assert line == {
        "time": "1970-01-01T00:16:51.500Z",
        "level": "info",
        "process": "plane 1",
        "kind": "request",
        "id": "id-1",
        "method": "POST",
        "path": "/v1/completions",
        "status": 200,
        "outcome": "answered",
        "seconds": 1.5,
        "first_byte": 0.25,
        "model": "m",
        "client": "10.0.0.9:5",
        "prompt_tokens": 13,
        "output_tokens": 6,
        "cached_tokens": 8,
        "policy": "random",
        "table": "3.7",
        "attempts": [
            {"worker": "http://a", "leg": "plain", "began": 0.0, "failed": "no connection"},
            {"worker": "http://b", "leg": "plain", "began": 0.1},
        ],
    }


def test_text() -> None:
    text = as_text(access_line(ENDED, "plane 1", 1000.0), ENDED, 1000.0).decode()
    assert re.sub(r"^\S+ \S+ ", "", text) == (
        "INFO plane 1: POST /v1/completions 200 answered, 1.500s first_byte=0.250s model=m "
        "worker=http://a!@0.000s>http://b@0.100s tokens=13+6 client=10.0.0.9:5 id=id-1\n"
    )


def test_what_a_client_chose_can_not_begin_a_line_of_its_own() -> None:
    ended = Ended(logging.INFO, row(path='/x\n2026 INFO "forged"'), "a cause\nwith lines", body=b"\xff\nx")
    for line in (as_text(access_line(ended, "p", 0.0), ended, 0.0), as_json(access_line(ended, "p", 0.0))):
        assert line.count(b"\n") == 1


@pytest.mark.parametrize(
    ("outcome", "status", "level"),
    [
        ("answered", 200, logging.DEBUG),
        ("aborted by client", 0, logging.DEBUG),
        ("answered", 404, logging.WARNING),
        ("unreadable body", 400, logging.WARNING),
        ("rejected model_not_found", 404, logging.WARNING),
        ("answered", 503, logging.ERROR),
        ("rejected no_worker_available", 503, logging.ERROR),
        ("aborted by worker", 200, logging.ERROR),
    ],
)
def test_levels_are_those_of_vllm_router(outcome: str, status: int, level: int) -> None:
    assert level_of(outcome, status, logging.DEBUG) == level


@pytest.mark.parametrize(
    ("mode", "log_level", "levels"),
    [
        ("errors", "info", {"WARNING", "ERROR"}),
        ("errors", "debug", {"DEBUG", "WARNING", "ERROR"}),
        ("errors", "error", {"ERROR"}),
        ("all", "info", {"INFO", "WARNING", "ERROR"}),
        ("off", "debug", set()),
    ],
)
def test_which_requests_get_a_line(mode: str, log_level: str, levels: set[str]) -> None:
    def act(access: AccessLog) -> None:
        access.use(mode, log_level, prompts=False)
        for outcome, status in (("answered", 200), ("answered", 404), ("answered", 500)):
            level = level_of(outcome, status, access.success)
            if level >= access.least:
                access.note(Ended(level, row(outcome, status), ""))

    assert {line.split()[2] for line in logged(act)} == levels


def test_a_flood_is_bounded_and_counted() -> None:
    def of_all(access: AccessLog) -> None:
        access.use("all", "info", prompts=False)
        for _ in range(MOST_ROWS + 5):
            access.note(ENDED)
        assert access.dropped == 5

    def of_failures(access: AccessLog) -> None:
        access.use("errors", "info", prompts=False)
        for _ in range(10_000):
            access.note(ENDED)
        dropped.append(access.dropped)

    assert len(logged(of_all)) == MOST_ROWS
    dropped: list[int] = []
    lines = len(logged(of_failures))
    assert lines >= FAILURES_PER_SECOND
    assert dropped[0] == 10_000 - lines > 0


def test_lines_come_by_themselves_and_others_have_their_turn() -> None:
    async def run() -> None:
        written: list[bytes] = []
        output = LogOutput(structured=False, stderr=written.append)
        access = AccessLog(asyncio.get_running_loop(), "plane 0", output)
        access.use("all", "info", prompts=False)
        for _ in range(500):
            access.note(ENDED)
        turns = 0
        async with asyncio.timeout(10):
            while b"".join(written).count(b"\n") < 500:
                turns += 1
                await asyncio.sleep(0.001)
        assert turns > 1
        output.close()

    asyncio.run(run())


def logged(act: Callable[[AccessLog], None]) -> list[str]:
    """The lines that come of it."""
    written: list[bytes] = []

    async def run() -> None:
        output = LogOutput(structured=False, stderr=written.append)
        access = AccessLog(asyncio.get_running_loop(), "plane 0", output)
        act(access)
        access.flush()
        output.close()

    asyncio.run(run())
    return b"".join(written).decode().splitlines()
