"""What an answer says it took: the `usage` at the end of a JSON answer, or in the last events of a stream.

Only the end of the answer is looked at, once, and never more of it than `TAIL` bytes: vLLM writes `usage` behind the
choices, and in a stream (`stream_options.include_usage`) in the last event before `[DONE]`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from shared.decoding import DECODE_ERRORS

TAIL = 2048
"""Bytes: what follows `usage` in vLLM's answers is a few hundred."""

_NAME = b'"usage":{'
"""In a JSON string its quotes would be escaped."""
_SPACED = b'"usage": {'
_MOST_NESTED = 8


class Usage(NamedTuple):
    """Tokens of the prompt, of the answer, and of the prompt those that the engine had cached, as far as it told."""

    prompt: int
    output: int
    cached: int


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    """OpenAI has other names in its Responses API, and Anthropic has those too."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None


_decode = msgspec.json.Decoder(_Usage).decode
_MOST = 1 << 40
"""Tokens: an answer that claims more is not believed, so that no sum can be spoilt by it."""


def usage_of(before: bytes, last: bytes) -> Usage | None:
    """Return what the last two parts of an answer's body say; None when they say nothing."""
    end = last if len(last) >= TAIL else before[-TAIL:] + last
    begin = -TAIL if len(end) > TAIL else 0
    at = end.rfind(_NAME, begin)
    if at < 0 and (at := end.rfind(_SPACED, begin)) < 0:
        return None
    at = end.index(b"{", at)
    stop = at
    # The object ends where as many braces are closed as were opened: it holds numbers and a few such objects.
    for _ in range(_MOST_NESTED):
        stop = end.find(b"}", stop) + 1
        if not stop or end.count(b"{", at, stop) == end.count(b"}", at, stop):
            break
    try:
        told = _decode(end[at:stop])
    except DECODE_ERRORS:
        return None
    prompt = told.prompt_tokens or told.input_tokens or 0
    output = told.completion_tokens or told.output_tokens or 0
    details = told.prompt_tokens_details or told.input_tokens_details
    cached = (details.cached_tokens or 0) if details is not None else 0
    if 0 <= prompt < _MOST and 0 <= output < _MOST and 0 <= cached < _MOST:
        return Usage(prompt, output, cached)
    return None
