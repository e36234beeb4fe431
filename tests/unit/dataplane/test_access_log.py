"""The access log's lines, which requests get one, and that none waits."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.access_lines import MOST_SHAPES, Ended, LineWriter, level_of
from dataplane.access_log import AT_ONCE, FAILURES_PER_SECOND, AccessLog
from dataplane.fleet_view import PoolName
from dataplane.model_routes import Arm, Taken
from dataplane.receipts import NOTHING, Extra, Row, Try
from dataplane.subsets import Subset
from dataplane.usage import Usage
from shared.log_output import MOST_WAITING, Lines, LogOutput
from shared.logs import iso_time, plain
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
    logging.INFO, row("answered", 200, failed(), Try("http://b", 10.1, None)), "", ("10.0.0.9", "5"), Usage(13, 6, 8)
)


def written(*ended: Ended, process: str = "plane 1") -> Lines:
    return LineWriter(process).write(ended, 1000.0)


def test_json() -> None:
    line = json.loads(written(ENDED).structured)
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
    text = written(ENDED).text.decode()
    assert re.sub(r"^\S+ \S+ ", "", text) == (
        "INFO plane 1: POST /v1/completions 200 answered, 1.500s first_byte=0.250s model=m "
        "worker=http://a!@0.000s>http://b@0.100s tokens=13+6 client=10.0.0.9:5 id=id-1\n"
    )


def test_what_a_client_chose_can_not_begin_a_line_of_its_own() -> None:
    ended = Ended(logging.INFO, row(path='/x\n2026 INFO "forged"'), "a cause\nwith lines", body=b"\xff\nx")
    lines = written(ended)
    for line in (lines.text, lines.structured):
        assert line.count(b"\n") == 1


# Percent signs, quotes, control characters and other scripts: what a gap, JSON or a line could be mistaken for.
TEXTS = st.text(st.sampled_from('ab%d"\\ \n\x00ä€'), max_size=6)
IDS = st.text(st.sampled_from('ab0-%"\\ '), min_size=1, max_size=6)
TIMES = st.floats(0, 2000, allow_nan=False).map(lambda seconds: round(seconds, 3))


@st.composite
def requests(draw: st.DrawFn) -> Ended:
    began = draw(TIMES)
    tries = []
    for _ in range(draw(st.integers(0, 3))):
        leg: PoolName = draw(st.sampled_from(["plain", "prefill", "decode"]))
        one = Try(f"http://{draw(st.sampled_from('ab%'))}", began + draw(TIMES), None, leg)
        one.failed = draw(st.just("") | TEXTS)
        tries.append(one)
    level = draw(st.sampled_from([logging.INFO, logging.WARNING, logging.ERROR]))
    times = (began, draw(st.just(0.0) | TIMES.map(lambda seconds: began + seconds + 0.001)), began + draw(TIMES))
    stamp = draw(st.sampled_from([STAMP, Stamp(3, 8, 0)]))
    model, path = draw(st.none() | TEXTS), "/" + draw(TEXTS)
    arm = Arm("name", "a", "m", Subset("m", (("zone", "50%"),)), 1.0, False)
    taken = Taken(arm, "draw") if draw(st.booleans()) else None
    extra = Extra(draw(st.sampled_from(["", "0af7"])), taken, draw(st.none() | st.just("team-a")))
    request_id, status = draw(IDS).encode(), draw(st.sampled_from([0, 200, 404]))
    row = (request_id, "POST", path, model, times, "answered", status, None, "random", stamp, tries, extra)
    usage = draw(st.none() | st.builds(Usage, st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)))
    client = draw(st.none() | st.sampled_from([("10.0.0.9", "5"), ("::1", "")]))
    return Ended(level, row, draw(st.just("") | TEXTS), client, usage, draw(st.binary(max_size=4)))


@given(st.lists(requests(), max_size=6))
@settings(max_examples=50, deadline=None)
def test_lines_say_what_a_plain_writer_says(ended: list[Ended]) -> None:
    """Shapes are shared by lines that differ in nothing else than what is left out of them."""
    lines = LineWriter("plane %1").write(ended, 1000.0)
    texts = lines.text.decode().splitlines()
    assert [json.loads(line) for line in lines.structured.splitlines()] == [as_members(one) for one in ended]
    assert [text.split(" ", 2)[2] for text in texts] == [as_words(one) for one in ended]
    failed = [text for text, one in zip(texts, ended, strict=True) if one.level >= logging.ERROR]
    assert lines.errors.decode().splitlines() == failed


def as_members(ended: Ended) -> dict[str, object]:
    level, row, cause, client, usage, body = ended
    request_id, method, path, model, (began, first_byte, over), outcome, status, _, policy, stamp, tries, extra = row
    known = {
        "time": iso_time(over + 1000.0),
        "level": logging.getLevelName(level).lower(),
        "process": "plane %1",
        "kind": "request",
        "id": request_id.decode(),
        "method": method,
        "path": path,
        "status": status,
        "outcome": outcome,
        "seconds": round(over - began, 3),
        "policy": policy,
        "table": f"{stamp.epoch}.{stamp.version}",
        "model": model,
        "first_byte": round(first_byte - began, 3) if first_byte else None,
        "arm": f"{extra.arm.arm.served}" if extra.arm is not None else None,
        "key": extra.key,
        "cause": cause or None,
        "client": ":".join(filter(None, client)) if client is not None else None,
        "prompt_tokens": usage and usage.prompt,
        "output_tokens": usage and usage.output,
        "cached_tokens": (usage and usage.cached) or None,
        "trace": extra.trace or None,
        "body": body.decode("utf-8", "backslashreplace") or None,
        "attempts": [
            {"worker": one.worker, "leg": one.pool, "began": round(one.began - began, 3)}
            | ({"failed": one.failed} if one.failed else {})
            for one in tries
        ]
        or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def as_words(ended: Ended) -> str:
    told = as_members(ended)
    began, first_byte, over = ended.row[4]
    words = [
        f"{logging.getLevelName(ended.level)} plane %1: {told['method']} {plain(told['path'])} {told['status'] or '-'}",
        f"{told['outcome']}, {over - began:.3f}s",
        f"first_byte={first_byte - began:.3f}s" if first_byte else "",
    ]
    words += [f"{name}={plain(told[name])}" for name in ("model", "arm") if name in told]
    if ended.row[10]:
        words.append("worker=" + ">".join(attempt_in_words(one, began) for one in ended.row[10]))
    if ended.usage is not None:
        words.append(f"tokens={ended.usage.prompt}+{ended.usage.output}")
    words += [
        f"{name}={plain(told[name])}" for name in ("cause", "key", "client", "id", "trace", "body") if name in told
    ]
    return " ".join(filter(None, words))


def attempt_in_words(one: Try, began: float) -> str:
    leg = "" if one.pool == "plain" else f"{one.pool}:"
    return f"{leg}{one.worker}{'!' if one.failed else ''}@{one.began - began:.3f}s"


def test_shapes_are_bounded() -> None:
    writer = LineWriter("plane 1")
    for number in range(MOST_SHAPES + 10):
        writer.write([Ended(logging.INFO, row(path=f"/v1/responses/{number}"), "")], 0.0)
    assert len(writer._shapes) <= MOST_SHAPES


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


def test_a_flood_of_failures_is_bounded_and_counted() -> None:
    def of_failures(access: AccessLog) -> None:
        access.use("errors", "info", prompts=False)
        for _ in range(10_000):
            access.note(ENDED)
        dropped.append(access.dropped)

    dropped: list[int] = []
    lines = len(logged(of_failures))
    assert lines >= FAILURES_PER_SECOND
    assert dropped[0] == 10_000 - lines > 0


def test_a_flood_does_not_gather_where_the_loop_has_no_time() -> None:
    async def run() -> None:
        stopped = threading.Event()

        def stand(_: bytes) -> None:
            stopped.wait()

        output = LogOutput(structured=False, stderr=stand)
        access = AccessLog(asyncio.get_running_loop(), "plane 0", output)
        access.use("all", "info", prompts=False)
        line = len(written(ENDED).text)
        # No await: the loop does not come to its timers.
        for _ in range(2 * MOST_WAITING // line):
            access.note(ENDED)
        assert output.dropped > MOST_WAITING // line / 2
        stopped.set()
        output.close()

    asyncio.run(run())


def test_rows_do_not_wait_for_their_lines() -> None:
    """What a request was made of is free for the next ones long before its line is written."""

    async def run() -> None:
        access = AccessLog(asyncio.get_running_loop(), "plane 0", LogOutput(structured=False, stderr=lambda _: None))
        access.use("all", "info", prompts=False)
        tries = [Try("http://a", 10.0, None) for _ in range(10 * AT_ONCE)]
        before = [sys.getrefcount(one) for one in tries]
        for one in tries:
            access.note(Ended(logging.INFO, row("answered", 200, one), ""))
        after = [sys.getrefcount(one) for one in tries]
        assert sum(old != new for old, new in zip(before, after, strict=True)) < AT_ONCE

    asyncio.run(run())


def test_lines_come_by_themselves() -> None:
    async def run() -> None:
        written: list[bytes] = []
        output = LogOutput(structured=False, stderr=written.append)
        access = AccessLog(asyncio.get_running_loop(), "plane 0", output)
        access.use("all", "info", prompts=False)
        async with asyncio.timeout(10):
            for count in (1, 500):
                for _ in range(count):
                    access.note(ENDED)
                turns = 0
                while b"".join(written).count(b"\n") < count:
                    turns += 1
                    await asyncio.sleep(0.001)
                assert turns > 0
                written.clear()
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
