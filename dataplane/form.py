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
_MAX_HEAD = 8 * 1024
"""Bytes of a part's head."""
_BOUNDARY = re.compile(rb'multipart/form-data\b.*?;\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_DISPOSITION = re.compile(rb"^content-disposition:[ \t]*form-data", re.IGNORECASE | re.MULTILINE)
_PARAMETER = re.compile(rb';[ \t]*([\w*-]+)=(?:"((?:[^"\\\r\n]|\\.)*)"|([^\s;"]*))')


def form_model(body: bytes | bytearray, fields: Mapping[bytes, bytes]) -> str | None:
    """Return the model that a form names, of a request with these fields; None where it names none."""
    return text_of(body, _models(body, fields), _MAX_MODEL)


def with_form_model(body: bytes | bytearray, fields: Mapping[bytes, bytes], model: str) -> bytes:
    """Return a form with another model in it."""
    return replaced(body, _models(body, fields), model.encode())


def _models(body: bytes | bytearray, fields: Mapping[bytes, bytes]) -> list[Span]:
    return spans_of(body, fields.get(b"content-type", b""), b"model")


def spans_of(body: bytes | bytearray, content_type: bytes, name: bytes) -> list[Span]:
    """Return where the values of the fields of that name stand, in their order; empty for what is no such form."""
    found = _BOUNDARY.match(content_type.strip())
    if found is None:
        return []
    delimiter = b"--" + (found[1] or found[2])
    return [span for head, span in _parts(body, delimiter) if _name(head) == name]


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
    """Yield each part's head and where its content stands."""
    begun = len(delimiter) if body.startswith(delimiter) else _next(body, 0, delimiter)[1]
    for _ in range(_MAX_PARTS):
        if begun < 0 or not body.startswith(b"\r\n", begun):
            return
        head_end = body.find(b"\r\n\r\n", begun, begun + _MAX_HEAD)
        end, following = _next(body, begun, delimiter)
        if head_end < 0 or end < 0:
            return
        if head_end + 4 <= end:
            yield bytes(body[begun + 2 : head_end]), (head_end + 4, end)
        begun = following


def _next(body: bytes | bytearray, start: int, delimiter: bytes) -> tuple[int, int]:
    """Return where the next line between parts begins and where its delimiter ends; -1 for both when there is none.

    Only a line end, or the end of the form, may follow: other servers take anything else for content.
    """
    line = b"\r\n" + delimiter
    at = body.find(line, start)
    while at >= 0 and body[at + len(line) : at + len(line) + 2] not in (b"\r\n", b"--"):
        at = body.find(line, at + 1)
    return (at, at + len(line)) if at >= 0 else (-1, -1)


def _name(head: bytes) -> bytes | None:
    found = _DISPOSITION.search(head)
    if found is None:
        return None
    line = head[found.end() :].partition(b"\r\n")[0]
    return next((match[2] or match[3] for match in _PARAMETER.finditer(line) if match[1].lower() == b"name"), None)
