"""Shapes of the access log's lines: most of a line is that of some line before.

A shape is a line with gaps, as text and as JSON: what is each request's own (times, tokens, ids, the client's address)
is left out. It is written once for all requests that have the rest in common, and filling its gaps costs a tenth of
writing the line. Both forms take the same values in the same order; `%.0b` takes one that only the other form shows.

What a client chose (methods, paths, models) is quoted, so that it can not write lines of its own. No clock, no file.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import msgspec

from dataplane.subsets import Served
from shared.logs import plain
from shared.table import Stamp

_LEVELS = {number: name.lower() for name, number in logging.getLevelNamesMapping().items() if name != "WARN"}
_encode = msgspec.json.Encoder().encode


class Shape(NamedTuple):
    """A line of each form; the gaps are `%b`, `%d` for tokens."""

    text: bytes
    structured: bytes


Attempted = tuple[str, str, str]
"""What lines say of an attempt besides when it began: its worker, its leg, why it failed."""


class Common(NamedTuple):
    """What the lines of one shape have in common: what they say, and which values of their own they have.

    `status` 0 is none; `arm` is what a name of `[models]` stood for.
    """

    level: int
    method: str
    path: str
    status: int
    outcome: str
    model: str | None
    arm: Served | None
    policy: str
    cause: str
    key: str | None
    attempts: tuple[Attempted, ...]
    has_first_byte: bool
    has_usage: bool
    has_cached: bool
    has_client: bool
    has_trace: bool
    has_body: bool


def shape_of(process: str, stamp: Stamp, common: Common) -> Shape:
    """Write a shape. `process` names the plane, `stamp` is the version of the table that the requests ended under.

    The values for its gaps, those in brackets where the requests have them: date and time of the end for people, the
    same in UTC to the second, its milliseconds (`.123Z`), the request's seconds, [those to the first byte], [for each
    attempt those until it began], [tokens of the prompt, of the answer], [those that were cached], [the client's
    address], the id for people, in JSON, [its trace's], [its body for people, in JSON].
    """
    level = _LEVELS[common.level]
    text = [
        b"%b%.0b%.0b " + _escaped(f"{level.upper()} {process}:".encode()),
        b" ".join((_plain(common.method), _plain(common.path), b"%d" % common.status if common.status else b"-")),
        _escaped(common.outcome.encode()) + b", %bs",
    ]
    structured = [
        b'%.0b{"time":"%b%b"',
        *(_member("level", level), _member("process", process), _member("kind", "request")),
        *(_member("method", common.method), _member("path", common.path), _member("status", common.status)),
        *(_member("outcome", common.outcome), b'"seconds":%b'),
    ]
    if common.has_first_byte:
        text.append(b"first_byte=%bs")
        structured.append(b'"first_byte":%b')
    if common.model is not None:
        text.append(b"model=" + _plain(common.model))
        structured.append(_member("model", common.model))
    if common.arm is not None:
        text.append(b"arm=" + _plain(common.arm))
        structured.append(_member("arm", str(common.arm)))
    if common.policy:
        structured.append(_member("policy", common.policy))
    structured.append(_member("table", f"{stamp.epoch}.{stamp.version}"))
    if common.attempts:
        text.append(b"worker=" + b">".join([_attempt_as_text(*one) for one in common.attempts]))
        structured.append(b'"attempts":[' + b",".join([_attempt_as_json(*one) for one in common.attempts]) + b"]")
    if common.has_usage:
        text.append(b"tokens=%d+%d" + b"%.0b" * common.has_cached)
        structured.append(b'"prompt_tokens":%d,"output_tokens":%d' + b',"cached_tokens":%b' * common.has_cached)
    if common.cause:
        text.append(b"cause=" + _plain(common.cause))
        structured.append(_member("cause", common.cause))
    if common.key is not None:
        text.append(b"key=" + _plain(common.key))
        structured.append(_member("key", common.key))
    if common.has_client:
        text.append(b"client=%b")
        structured.append(b'"client":"%b"')
    text.append(b"id=%b%.0b")
    structured.append(b'%.0b"id":"%b"')
    if common.has_trace:
        text.append(b"trace=%b")
        structured.append(b'"trace":"%b"')
    if common.has_body:
        text.append(b"body=%b%.0b")
        structured.append(b'%.0b"body":%b')
    return Shape(b" ".join(text) + b"\n", b",".join(structured) + b"}\n")


def _attempt_as_text(worker: str, leg: str, failed: str) -> bytes:
    part = "" if leg == "plain" else f"{leg}:"
    return _escaped(f"{part}{worker}{'!' if failed else ''}".encode()) + b"@%bs"


def _attempt_as_json(worker: str, leg: str, failed: str) -> bytes:
    why = b"," + _member("failed", failed) if failed else b""
    return b"{" + _member("worker", worker) + b"," + _member("leg", leg) + b',"began":%b' + why + b"}"


def _member(name: str, value: str | int) -> bytes:
    return b'"%b":%b' % (name.encode(), _escaped(_encode(value)))


def _plain(value: object) -> bytes:
    return _escaped(plain(value).encode())


def _escaped(text: bytes) -> bytes:
    return text.replace(b"%", b"%%")
