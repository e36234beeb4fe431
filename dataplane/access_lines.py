"""A request's line in the access log: from its receipt's row to JSON and to text. No clock, no file.

What a client chose (ids, paths, models) is quoted, so that it can not write lines of its own.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import NamedTuple

import msgspec

from dataplane.receipts import Row
from dataplane.usage import Usage
from shared.logs import iso_time, plain, text_time

MOST_PROMPT = 16 * 1024
"""Bytes of a body that --log-prompts shows."""


class Ended(NamedTuple):
    """A request that has ended: its receipt's row, and what a receipt has no use for. `body` is what may be shown."""

    level: int
    row: Row
    cause: str
    client: tuple[str, int] | None = None
    usage: Usage | None = None
    body: bytes = b""


class _Attempt(msgspec.Struct, omit_defaults=True):
    """`began` in seconds since the request's arrival."""

    worker: str
    leg: str
    began: float
    failed: str = ""


class AccessLine(msgspec.Struct, omit_defaults=True):
    """A line of the JSON log. Times in seconds; `time` is that of the request's end."""

    time: str
    level: str
    process: str
    kind: str
    id: str
    method: str
    path: str
    status: int
    outcome: str
    seconds: float
    first_byte: float | None = None
    model: str | None = None
    arm: str = ""
    cause: str = ""
    client: str = ""
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    policy: str = ""
    table: str = ""
    key: str | None = None
    attempts: tuple[_Attempt, ...] = ()
    body: str | None = None
    trace: str = ""


_LEVELS = {number: name.lower() for name, number in logging.getLevelNamesMapping().items() if name != "WARN"}
_of_few = lru_cache(512)(plain)
"""Methods, paths and models come again and again."""
_encode = msgspec.json.Encoder().encode


def level_of(outcome: str, status: int, success: int) -> int:
    """Return a line's level, as vllm-router has them: 5xx and cut off answers are errors, 4xx warnings.

    `success` is that of requests that did not fail; a client's leaving is no failure.
    """
    if outcome == "aborted by client" or (outcome == "answered" and status < 400):
        return success
    return logging.WARNING if 400 <= status < 500 else logging.ERROR


def access_line(ended: Ended, process: str, ago: float) -> AccessLine:
    """Return a line; `ago` is what turns the loop's time into Unix time, in seconds."""
    level, row, cause, client, usage, body = ended
    request_id, method, path, model, times, outcome, status, _, policy, stamp, tries, extra = row
    trace, arm, key, _, _ = extra
    began, first_byte, over = times
    # By position, in the order of the fields: this is most of what a line costs.
    return AccessLine(
        iso_time(over + ago),
        _LEVELS[level],
        process,
        "request",
        request_id.decode("latin-1"),
        method,
        path,
        status,
        outcome,
        round(over - began, 3),
        round(first_byte - began, 3) if first_byte else None,
        model,
        f"{arm.arm.served}" if arm is not None else "",
        cause,
        _address(client),
        usage.prompt if usage is not None else None,
        usage.output if usage is not None else None,
        usage.cached if usage is not None and usage.cached else None,
        policy,
        _table(stamp.epoch, stamp.version),
        key,
        tuple([_Attempt(one.worker, one.pool, round(one.began - began, 3), one.failed) for one in tries]),
        body[:MOST_PROMPT].decode("utf-8", "backslashreplace") if body else None,
        trace,
    )


def _address(client: tuple[str, int] | None) -> str:
    """Return an address; port 0 is one that is not known."""
    if client is None:
        return ""
    return f"{client[0]}:{client[1]}" if client[1] else client[0]


@lru_cache(16)
def _table(epoch: int, version: int) -> str:
    return f"{epoch}.{version}"


def as_json(line: AccessLine) -> bytes:
    """Return the line of the structured log."""
    return _encode(line) + b"\n"


def as_text(line: AccessLine, ended: Ended, ago: float) -> bytes:
    """Return the line for people: what was asked, what came of it, then what else is known, by name."""
    parts = [
        text_time(ended.row[4][2] + ago),
        line.level.upper(),
        f"{line.process}:",
        _of_few(line.method),
        _of_few(line.path),
        str(line.status or "-"),
        f"{line.outcome},",
        f"{line.seconds:.3f}s",
    ]
    if line.first_byte is not None:
        parts.append(f"first_byte={line.first_byte:.3f}s")
    if line.model is not None:
        parts.append(f"model={_of_few(line.model)}")
    if line.arm:
        parts.append(f"arm={_of_few(line.arm)}")
    if line.attempts:
        parts.append("worker=" + ">".join(_attempt(one) for one in line.attempts))
    if line.prompt_tokens is not None:
        parts.append(f"tokens={line.prompt_tokens}+{line.output_tokens}")
    if line.cause:
        parts.append(f"cause={plain(line.cause)}")
    if line.key is not None:
        parts.append(f"key={line.key}")
    if line.client:
        parts.append(f"client={line.client}")
    parts.append(f"id={plain(line.id)}")
    if line.trace:
        parts.append(f"trace={line.trace}")
    if line.body is not None:
        parts.append(f"body={plain(line.body)}")
    return " ".join(parts).encode() + b"\n"


def _attempt(one: _Attempt) -> str:
    leg = "" if one.leg == "plain" else f"{one.leg}:"
    return f"{leg}{one.worker}{'!' if one.failed else ''}@{one.began:.3f}s"
