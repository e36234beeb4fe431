"""An engine's error that comes as the first event of a stream whose status says 200.

vLLM sends the head before the engine has begun. Where the engine then fails at once (KV cache that could not
be loaded, a full queue), the first event is `data: {"error": {...}}`: nothing of an answer has come, so the
request can still go elsewhere, or the client can still be given the status that it should have had.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from shared.decoding import DECODE_ERRORS

PREFIXES = (b'data: {"error"', b'event: error\ndata: {"type":"error","error"')
"""How such an event begins, as vLLM writes it; the second one is that of `/v1/messages`."""


class EarlyError(NamedTuple):
    """What the worker said: the status that it meant, and its error as a JSON body."""

    status: int
    body: bytes


class _Error(msgspec.Struct):
    code: int | str | None = None


class _Event(msgspec.Struct):
    error: _Error


_decode = msgspec.json.Decoder(_Event).decode


def early_error(part: bytes) -> EarlyError | None:
    """Read the first part of a stream's body; None when it is no error event."""
    if not part.startswith(PREFIXES):
        return None
    body = part.partition(b"data: ")[2].partition(b"\n")[0].rstrip(b"\r")
    try:
        code = _decode(body).error.code
    except DECODE_ERRORS:
        return None
    status = int(code) if isinstance(code, int) or (code is not None and code.isdecimal() and len(code) < 4) else 500
    return EarlyError(status if 400 <= status <= 599 else 500, body)
