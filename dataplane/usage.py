"""What an answer says it took: the `usage` at the end of a JSON answer, or in the last events of a stream.

Only the end of the answer is looked at, once, and never more of it than `TAIL` bytes: vLLM writes `usage` behind the
choices, and in a stream (`stream_options.include_usage`) in the last event before `[DONE]`.
"""

from __future__ import annotations

import msgspec

from shared.decoding import DECODE_ERRORS

TAIL = 2048
"""Bytes: what follows `usage` in vLLM's answers is a few hundred."""

_NAME = b'"usage":{'
"""In a JSON string its quotes would be escaped."""
_SPACED = b'"usage": {'
_MOST_NESTED = 8


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of the prompt, of the answer, and of the prompt those that the engine had cached (None: not told)."""

    prompt: int
    output: int
    cached: int | None


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
    end = before[-TAIL:] + last if before and len(last) < TAIL else last
    at = end.rfind(_NAME, -TAIL) + len(_NAME) - 1
    if at < len(_NAME) - 1:
        at = end.rfind(_SPACED, -TAIL) + len(_SPACED) - 1
        if at < len(_SPACED) - 1:
            return None
    stop = end.find(b"}", at) + 1
    if end.find(b"{", at + 1, stop) > 0:
        stop = _end_of_object(end, at)
    try:
        told = _decode(end[at:stop])
    except DECODE_ERRORS:
        return None
    prompt = told.prompt_tokens or told.input_tokens or 0
    output = told.completion_tokens or told.output_tokens or 0
    details = told.prompt_tokens_details or told.input_tokens_details
    cached = details.cached_tokens if details is not None else None
    if 0 <= prompt < _MOST and 0 <= output < _MOST and 0 <= (cached or 0) < _MOST:
        return Usage(prompt, output, cached)
    return None


def _end_of_object(text: bytes, at: int) -> int:
    """Return where the object that begins at `at` ends: where as many braces are closed as were opened.

    It holds numbers and a few such objects; 0 when it has no end.
    """
    stop = at
    for _ in range(_MOST_NESTED):
        stop = text.find(b"}", stop) + 1
        if not stop or text.count(b"{", at, stop) == text.count(b"}", at, stop):
            break
    return stop
