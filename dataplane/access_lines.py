"""Requests' lines in the access log: from their receipts' rows to text and JSON. No clock, no file."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from dataplane.access_shapes import Attempted, Common, Shape, shape_of
from dataplane.receipts import Row
from dataplane.usage import Usage
from shared.log_output import Lines
from shared.logs import iso_second, plain, text_second
from shared.table import Stamp

MOST_PROMPT = 16 * 1024
"""Bytes of a body that --log-prompts shows."""
MOST_SHAPES = 1024
"""About a kilobyte each. Paths with ids in them, and causes with names, come only once."""


Address = tuple[str, str]
"""Host and port; an empty port is one that is not known."""


class Ended(NamedTuple):
    """A request that has ended: its receipt's row, and what a receipt has no use for. `body` is what may be shown."""

    level: int
    row: Row
    cause: str
    client: Address | None = None
    usage: Usage | None = None
    body: bytes = b""


EndedRow = tuple[int, Row, str, Address | None, Usage | None, bytes]
"""The fields of `Ended`, in their order."""

_encode = msgspec.json.Encoder().encode
_needs_no_quotes = re.compile(rb"[!#-\[\]-~]+").fullmatch
"""In neither form: no space, no quote, no backslash."""
_MILLISECONDS = tuple(b".%03dZ" % number for number in range(1000))
_SECONDS = tuple(b"0.%03d" % number for number in range(1000))


def level_of(outcome: str, status: int, success: int) -> int:
    """Return a line's level, as vllm-router has them: 5xx and cut off answers are errors, 4xx warnings.

    `success` is that of requests that did not fail; a client's leaving is no failure.
    """
    if outcome == "aborted by client" or (outcome == "answered" and status < 400):
        return success
    return logging.WARNING if 400 <= status < 500 else logging.ERROR


class LineWriter:
    """Writes lines of one plane, in the forms that are wanted, and remembers their shapes."""

    def __init__(self, process: str, *, wants_text: bool = True, wants_structured: bool = True) -> None:
        """`process` names the plane in each line."""
        self._process = process
        self._wants_text = wants_text
        self._wants_structured = wants_structured
        self._shapes: dict[tuple[object, ...], Shape] = {}
        self._stamp: Stamp | None = None

    def write(self, rows: Iterable[EndedRow], ago: float) -> Lines:
        """Return lines in the order of `rows`; `ago` is what turns the loop's time into Unix time, in seconds."""
        text: list[bytes] = []
        structured: list[bytes] = []
        errors: list[bytes] = []
        # The gaps of all lines are filled together, which costs half as much as line by line.
        filling: list[bytes | int] = []
        shapes = self._shapes
        second, date, utc = -1, b"", b""
        for level, row, cause, client, usage, body in rows:
            request_id, method, path, model, times, outcome, status, _, policy, stamp, tries, extra = row
            began, first_byte, over = times
            trace, taken, key, _, _ = extra
            if stamp is not self._stamp:
                self._stamp = stamp
                shapes.clear()
            milliseconds = int((over + ago) * 1000)
            if milliseconds // 1000 != second:
                second = milliseconds // 1000
                date, utc = text_second(second).encode(), iso_second(second).encode()
            values: list[bytes | int] = [date, utc, _MILLISECONDS[milliseconds % 1000], _seconds(over - began)]
            if first_byte:
                values.append(_seconds(first_byte - began))
            attempts: tuple[Attempted, ...] = ()
            for one in tries:
                attempts += ((one.worker, one.pool, one.failed),)
                values.append(_seconds(one.began - began))
            has_cached = False
            if usage is not None:
                values += (usage.prompt, usage.output)
                if usage.cached:
                    has_cached = True
                    values.append(b"%d" % usage.cached)
            if client is not None:
                values.append(_address(client))
            values += (request_id, request_id) if request_id.isalnum() else _quoted_id(request_id)
            if trace:
                values.append(trace.encode())
            if body:
                values += _quoted_body(body)
            common = (
                level,
                method,
                path,
                status,
                outcome,
                model,
                taken and taken.arm.served,
                policy,
                cause,
                key,
                attempts,
                first_byte > 0,
                usage is not None,
                has_cached,
                client is not None,
                trace != "",
                body != b"",
            )
            shape = shapes.get(common)
            if shape is None:
                if len(shapes) >= MOST_SHAPES:
                    shapes.clear()
                shape = shapes[common] = shape_of(self._process, stamp, Common(*common))
            filling += values
            text.append(shape.text)
            structured.append(shape.structured)
            if level >= logging.ERROR and self._wants_text:
                errors.append(shape.text % tuple(values))
        filled = tuple(filling)
        return Lines(
            b"".join(text) % filled if self._wants_text else b"",
            b"".join(structured) % filled if self._wants_structured else b"",
            b"".join(errors),
        )


def _seconds(seconds: float) -> bytes:
    milliseconds = round(seconds * 1000)
    return _SECONDS[milliseconds] if milliseconds < 1000 else b"%.3f" % seconds


def _address(client: Address) -> bytes:
    return (f"{client[0]}:{client[1]}" if client[1] else client[0]).encode()


def _quoted_id(request_id: bytes) -> tuple[bytes, bytes]:
    """Return an id for people, and as it stands between JSON's quotes."""
    if _needs_no_quotes(request_id):
        return request_id, request_id
    text = request_id.decode("latin-1")
    return plain(text).encode(), _encode(text)[1:-1]


def _quoted_body(body: bytes) -> tuple[bytes, bytes]:
    """Return a body for people and as JSON."""
    text = body[:MOST_PROMPT].decode("utf-8", "backslashreplace")
    return plain(text).encode(), _encode(text)
