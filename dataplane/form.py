"""The fields of a multipart form (RFC 7578), found and replaced where they stand in the body's bytes.

Forms carry audio: a body is searched for the lines between its parts, never copied or taken apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

Span = tuple[int, int]
"""Where a field's value begins and ends in the body."""

_MAX_MODEL = 2048
"""Bytes."""
_MAX_PARTS = 64
_MAX_BOUNDARY = 70
_MAX_HEAD = 8 * 1024
"""Bytes of a part's head."""
_PARAMETERS = rb'(?:[ \t]*;[ \t]*[\w*-]+=(?:"(?:[^"\\\r\n]|\\.)*(?<!\\)"|[^\s;"]*))*[ \t]*;?[ \t]*'
_is_type = re.compile(rb"multipart/form-data" + _PARAMETERS, re.IGNORECASE).fullmatch
_is_disposition = re.compile(rb"form-data" + _PARAMETERS, re.IGNORECASE).fullmatch
_PARAMETER = re.compile(rb';[ \t]*([\w*-]+)=(?:"((?:[^"\\\r\n]|\\.)*)"|([^\s;"]*))')


class _UnclearError(ValueError):
    """A form that another server may read in another way: what it names there can not be known."""


def form_model(body: bytes | bytearray, fields: Mapping[bytes, bytes]) -> str | None:
    """Return the model that a form names, of a request with these fields; None where it names none."""
    return text_of(body, _models(body, fields), _MAX_MODEL)


def with_form_model(body: bytes | bytearray, fields: Mapping[bytes, bytes], model: str) -> bytes:
    """Return a form with another model in it."""
    return replaced(body, _models(body, fields), model.encode())


def _models(body: bytes | bytearray, fields: Mapping[bytes, bytes]) -> list[Span]:
    return spans_of(body, fields.get(b"content-type", b""), b"model")


def spans_of(body: bytes | bytearray, content_type: bytes, name: bytes) -> list[Span]:
    """Return where the values of the fields of that name stand, in their order.

    Empty for what is no form, and for one that is not read to its end or may be read in another way elsewhere: there a
    field may count that is not seen here.
    """
    value = content_type.strip()
    if not _is_type(value):
        return []
    try:
        boundary = _only(value, b"boundary")
        if not 0 < len(boundary) <= _MAX_BOUNDARY:
            return []
        return [span for head, span in _parts(body, b"--" + boundary) if _name(head) == name]
    except _UnclearError:
        return []


def text_of(body: bytes | bytearray, spans: Sequence[Span], longest: int) -> str | None:
    """Return the value of the last of these fields, which vLLM reads; None when that is no text or too long."""
    if not spans:
        return None
    start, end = spans[-1]
    if end - start > longest:
        return None
    try:
        return body[start:end].decode() or None
    except UnicodeDecodeError:
        return None


def replaced(body: bytes | bytearray, spans: Sequence[Span], value: bytes) -> bytes:
    """Return the body with another value in these places."""
    kept, position = [], 0
    for start, end in spans:
        kept += [body[position:start], value]
        position = end
    return b"".join((*kept, body[position:]))


def _parts(body: bytes | bytearray, delimiter: bytes) -> Iterator[tuple[bytes, Span]]:
    """Yield each part's head and where its content stands. Raises _UnclearError where it can not go on."""
    begun = len(delimiter) if body.startswith(delimiter) else _next(body, 0, delimiter)[1]
    for _ in range(_MAX_PARTS):
        if begun >= 0 and body.startswith(b"--", begun):
            return
        if begun < 0 or not body.startswith(b"\r\n", begun):
            raise _UnclearError
        head_end = body.find(b"\r\n\r\n", begun, begun + _MAX_HEAD)
        end, following = _next(body, begun, delimiter)
        if head_end < 0 or end < head_end + 4:
            raise _UnclearError
        yield bytes(body[begun + 2 : head_end]), (head_end + 4, end)
        begun = following
    if not body.startswith(b"--", begun):
        raise _UnclearError


def _next(body: bytes | bytearray, start: int, delimiter: bytes) -> tuple[int, int]:
    """Return where the next line between parts begins and where its delimiter ends; -1 for both when there is none.

    Only a line end, or the end of the form, may follow: other servers take anything else for content.
    """
    line = b"\r\n" + delimiter
    at = body.find(line, start)
    while at >= 0 and body[at + len(line) : at + len(line) + 2] not in (b"\r\n", b"--"):
        at = body.find(line, at + 1)
    return (at, at + len(line)) if at >= 0 else (-1, -1)


def _name(head: bytes) -> bytes:
    """Return the name of a part's field. Raises _UnclearError."""
    lines = head.split(b"\r\n")
    if any(b"\n" in line or b"\r" in line or line[:1] in b" \t" for line in lines):
        raise _UnclearError
    fields = [line.partition(b":") for line in lines]
    values = [value.strip() for name, _, value in fields if name.strip().lower() == b"content-disposition"]
    if len(values) != 1 or not _is_disposition(values[0]):
        raise _UnclearError
    return _only(values[0], b"name")


def _only(value: bytes, wanted: bytes) -> bytes:
    """Return a parameter that must be there once, and plainly.

    Raises _UnclearError, also for RFC 2231's `name*=`, which some servers read and others do not.
    """
    found = [match for match in _PARAMETER.finditer(value) if match[1].lower().partition(b"*")[0] == wanted]
    if len(found) != 1 or b"*" in found[0][1]:
        raise _UnclearError
    text: bytes = found[0][3] if found[0][2] is None else found[0][2]
    if b"\\" in text:
        raise _UnclearError
    return text
