"""Which answers of a worker can be read in one way only, and how much of one may be no body."""

from __future__ import annotations

from collections.abc import Sequence

MAX_HEAD = 64 * 1024
"""Bytes of all heads up to the final answer's, interim ones included, and of what stands between two parts of the
body (chunk extensions) or after the last (trailers). vLLM's heads have some 200 bytes. A limit there must be: the
parser holds a field until it ends, and the server that passes heads on ends its process at 24,576 fields."""
_MAX_FIELDS = 256

LONG_HEAD = f"has a head of more than {MAX_HEAD // 1024} KB"
LONG_PAUSE = f"has more than {MAX_HEAD // 1024} KB between the parts of its body"


class NotUnderstoodError(Exception):
    """The answer is HTTP, but none that we can pass on; the message ends "the worker's answer ..."."""


def check_head(
    status: int, version: str, headers: Sequence[tuple[bytes, bytes]], *, chunked: bool, framed: bool
) -> None:
    """Raise NotUnderstoodError for a head that was not asked for, or that another reader may take otherwise.

    `version` is "1.1" or the like; `framed` tells whether the head announces a body of at least a byte.
    """
    if status < 100 or status == 101 or status > 599:
        raise NotUnderstoodError("has a status that was not asked for")
    if version != "1.1" and (version != "1.0" or chunked):
        raise NotUnderstoodError(f"is not framed as HTTP/{version} allows")
    if len(headers) > _MAX_FIELDS:
        raise NotUnderstoodError(f"has more than {_MAX_FIELDS} fields")
    if status < 200 and framed:
        # It has no body; whether one follows all the same is anybody's guess.
        raise NotUnderstoodError("has an interim answer with a body")


def size_of(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """Return the bytes of these fields on the wire."""
    return sum(len(name) + len(value) + 4 for name, value in headers)
