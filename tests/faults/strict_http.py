"""HTTP/1.1 read as RFC 9112 says and not a byte more leniently: the judge of what a router sends on.

Nothing here is shared with the router or the libraries it uses, so a mistake of theirs can not hide itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(%b) (/[^\x00-\x20\x7f]*|\*) HTTP/1\.1\r\n" % _TOKEN)
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2}) [^\x00-\x08\x0a-\x1f\x7f]*\r\n")
_FIELD_LINE = re.compile(
    rb"(%b):[ \t]*((?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?)[ \t]*\r\n" % _TOKEN
)
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")

Read = Callable[[int], bytes]
ReadLine = Callable[[], bytes]


class NotStrictError(Exception):
    """The bytes are no message by the RFC's letter."""


@dataclass(frozen=True)
class Message:
    """A request (`start` is method and target) or an answer (`start` is the status)."""

    start: tuple[bytes, ...]
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""

    def values(self, name: bytes) -> list[bytes]:
        """Every value of a field, in order."""
        return [value for field, value in self.fields if field == name]


def read_request(readline: ReadLine, read: Read) -> Message | None:
    """Read a request as it must come from a router: one way of framing at most, one host; None at the end."""
    line = readline()
    if not line:
        return None
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise NotStrictError(f"request line {line!r}")
    head = Message(match.groups(), _fields(readline))
    if len(head.values(b"host")) != 1:
        raise NotStrictError(f"{len(head.values(b'host'))} host fields")
    if head.values(b"transfer-encoding"):
        raise NotStrictError("a transfer coding: the router has the whole body in hand")
    return Message(head.start, head.fields, _of_length(head, read) or b"")


def read_answer(readline: ReadLine, read: Read, *, head: bool = False) -> Message | None:
    """Read an answer as it must come from a router, interim ones left out; None at the end of the connection."""
    while True:
        line = readline()
        if not line:
            return None
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise NotStrictError(f"status line {line!r}")
        answer = Message(match.groups(), _fields(readline))
        status = int(answer.start[0])
        if status != 100:
            break
    codings = answer.values(b"transfer-encoding")
    if codings and answer.values(b"content-length"):
        raise NotStrictError("two ways of framing")
    if head or status in (204, 304):
        return answer
    if codings:
        if codings != [b"chunked"]:
            raise NotStrictError(f"transfer codings {codings}")
        return Message(answer.start, answer.fields, _chunks(readline, read))
    body = _of_length(answer, read)
    return Message(answer.start, answer.fields, read(-1) if body is None else body)


def _fields(readline: ReadLine) -> tuple[tuple[bytes, bytes], ...]:
    fields = []
    while (line := readline()) != b"\r\n":
        match = _FIELD_LINE.fullmatch(line)
        if match is None:
            raise NotStrictError(f"field line {line!r}")
        fields.append((match[1].lower(), match[2]))
    return tuple(fields)


def _of_length(head: Message, read: Read) -> bytes | None:
    lengths = head.values(b"content-length")
    if not lengths:
        return None
    if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,15}", lengths[0]):
        raise NotStrictError(f"content lengths {lengths}")
    return _exactly(int(lengths[0]), read)


def _chunks(readline: ReadLine, read: Read) -> bytes:
    body = b""
    while True:
        line = readline()
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise NotStrictError(f"chunk line {line!r}")
        size = int(match[1], 16)
        if not size:
            _fields(readline)
            return body
        body += _exactly(size, read)
        if _exactly(2, read) != b"\r\n":
            raise NotStrictError("no line end after a chunk")


def _exactly(size: int, read: Read) -> bytes:
    data = read(size)
    if len(data) < size:
        raise NotStrictError(f"ended {size - len(data)} bytes too early")
    return data
