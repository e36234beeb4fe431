"""Another model's name in a body: the value of the one member is replaced, every other byte stays.

Clients write `model` first or last, so its text is looked for at both ends; that costs a hundredth of reading a body as
JSON in Python. It was the right text if the new body, as routing reads it, names the new model. Otherwise the body is
read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache

from dataplane.peek import peek
from dataplane.splice import with_members
from shared.errors import RouterError, unreadable_body

_KEY = b'"model"'
_HEAD = 256
"""Bytes at the beginning of a body that are looked through first."""
_MOST_LOOKS = 8
"""Places that are looked at from the end: tools may have members of that name."""


def with_model(body: bytes | bytearray, old: str, new: str) -> bytes:
    """Return the body, a JSON object whose `model` is `old`, with `new` (a JSON text) there.

    Raises RouterError for a body in which that can not be done: no UTF-8, for one.
    """
    name = json.loads(new)
    for place in _places(body):
        found = _value(old).match(body, place)
        if found is not None:
            spliced = b"".join((body[: found.start(1)], new.encode(), body[found.end(1) :]))
            if _names(spliced, name):
                return spliced
    try:
        spliced = with_members(body, {"model": new})
    except (ValueError, RecursionError):
        raise unreadable_body() from None
    if not _names(spliced, name):
        raise unreadable_body()
    return spliced


def _names(body: bytes, model: str) -> bool:
    try:
        return peek(body).model == model
    except RouterError:
        return False


def _places(body: bytes | bytearray) -> Iterator[int]:
    first = body.find(_KEY, 0, _HEAD)
    if first >= 0:
        yield first
    end = len(body)
    for _ in range(_MOST_LOOKS):
        end = body.rfind(_KEY, 0, end)
        if end < 0:
            return
        yield end


@lru_cache(256)
def _value(name: str) -> re.Pattern[bytes]:
    forms = {json.dumps(name).encode(), json.dumps(name, ensure_ascii=False).encode("utf-8", "surrogatepass")}
    return re.compile(rb'"model"[ \t\r\n]*:[ \t\r\n]*(%b)' % b"|".join(map(re.escape, sorted(forms))))
