"""What routing reads of a request: little, and without changing a byte of it."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from shared.decoding import DECODE_ERRORS

Headers = Sequence[tuple[bytes, bytes]]


class Peek(msgspec.Struct, frozen=True):
    """The fields of a JSON body that routing needs; all others are skipped unread."""

    model: str | None = None


_NOTHING = Peek()
_decode = msgspec.json.Decoder(Peek).decode
_WHITE_SPACE = b" \t\r\n"


def peek(body: bytes) -> Peek:
    """Read what routing needs; a body that is no such JSON yields nothing, and the worker says what is wrong."""
    if body[:1] != b"{" and not body[:64].lstrip(_WHITE_SPACE).startswith(b"{"):
        return _NOTHING
    try:
        return _decode(body)
    except DECODE_ERRORS:
        return _NOTHING


def request_id(headers: Headers, names: Sequence[bytes], rng: random.Random) -> bytes:
    """Return the request's id: the value of the first of `names` that is given, or a new one of 24 hex digits."""
    given = {name: value for name, value in headers if name in names}
    for name in names:
        if value := given.get(name):
            return value
    return b"%024x" % rng.getrandbits(96)
