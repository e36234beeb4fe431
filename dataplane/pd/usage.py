"""What of a decode worker's answer is not the client's as it stands: a count of tokens, and orders for KV cache.

A decode worker may count all tokens as cached whose KV cache it was given (vLLM up to 0.30 does), so that a client who
pays less for those would pay less for all. What was really found in a cache the prefill worker tells, of the same
prompt. Its count takes the place of the decode worker's, where vLLM itself has it:

    path                               in `usage`                            of a stream, in the event
    ---------------------------------  ------------------------------------  --------------------------------
    /v1/completions, chat/completions  prompt_tokens_details.cached_tokens   without choices, the last one
    /v1/responses                      input_tokens_details.cached_tokens    whose `response` has a `usage`
    /v1/messages                       cache_read_input_tokens               `message_start`, `message_delta`

Anthropic's `input_tokens` are those that were not cached, so their sum with the cached ones stays. Where an answer took
several turns, of which the prefill worker knows one, the count stays. `kv_transfer_params` become null: they name
hosts, ports and blocks of the fleet. All other bytes stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
from msgspec import Raw

from dataplane.splice import with_members
from shared.decoding import DECODE_ERRORS

USAGE = b'"usage"'
"""Text without it has no count."""
_TRANSFER = b'"kv_transfer_params"'
_MOST_ALIKE = 16
"""How many equal objects of one text are tried for the one that is meant; a model may say the same again and again."""


class _Answer(msgspec.Struct, frozen=True):
    usage: Raw = Raw()
    kv_transfer_params: Raw = Raw()


class _Chunk(_Answer, frozen=True):
    choices: tuple[Raw, ...] | None = None


class _ResponseEvent(msgspec.Struct, frozen=True):
    response: _Answer = _Answer()


class _MessageEvent(_Answer, frozen=True):
    message: _Answer | None = None


class _Figures(msgspec.Struct, frozen=True):
    """What is looked for in `usage` and in the details in it."""

    prompt_tokens_details: Raw = Raw()
    input_tokens_details: Raw = Raw()
    cached_tokens: Raw = Raw()
    cached_tokens_per_turn: Raw = Raw()
    cache_read_input_tokens: Raw = Raw()
    input_tokens: Raw = Raw()


class _Family(NamedTuple):
    """Where the count stands: in an object of `usage`, or in `usage` itself and not in `others`."""

    details: str
    cached: str
    others: str


_OPENAI = _Family("prompt_tokens_details", "cached_tokens", "")
_FAMILIES: Mapping[str, _Family] = {
    "/v1/completions": _OPENAI,
    "/v1/chat/completions": _OPENAI,
    "/v1/responses": _Family("input_tokens_details", "cached_tokens", ""),
    "/v1/messages": _Family("", "cache_read_input_tokens", "input_tokens"),
}
_read_whole = msgspec.json.Decoder(_Answer).decode
_read_chunk = msgspec.json.Decoder(_Chunk).decode
_read_response_event = msgspec.json.Decoder(_ResponseEvent).decode
_read_message_event = msgspec.json.Decoder(_MessageEvent).decode
_read_figures = msgspec.json.Decoder(_Figures).decode
_read_list: Callable[[bytes], list[Raw] | None] = msgspec.json.Decoder(list[Raw] | None).decode
_read_count: Callable[[bytes], int | None] = msgspec.json.Decoder(int | None).decode
_NULL = b"null"
_NOTHING = _Answer()


def cached_tokens(path: str, answer: bytes) -> int | None:
    """Return how many of the prompt's tokens an answer that is no stream says were cached; None where it does not."""
    family = _FAMILIES[path]
    if b'"%b"' % family.cached.encode() not in answer:
        return None
    try:
        figures = _figures(bytes(_read_whole(answer).usage))
        if family.details:
            figures = _figures(_value(figures, family.details))
        count = _count(figures, family.cached)
    except DECODE_ERRORS:
        return None
    return count if count is not None and count >= 0 else None


def with_cached_tokens(path: str, text: bytes, cached: int, *, is_event: bool) -> bytes:
    """Return a whole answer's body, or the JSON of an event of a stream, with the prefill worker's count.

    The same object comes back where there is nothing to change, as for whatever is no such JSON.
    """
    find = _finder(path, is_event=is_event)
    try:
        usage = bytes(find(text).usage)
        counted = _counted(_FAMILIES[path], usage, cached)
        return _replaced(text, usage, counted, lambda new: find(new).usage)
    except (*DECODE_ERRORS, ValueError):
        return text


def without_transfer(path: str, text: bytes, *, is_event: bool) -> bytes:
    """Return the same with `kv_transfer_params` null, where there are any. As `with_cached_tokens`."""
    find = _finder(path, is_event=is_event)
    try:
        told = bytes(find(text).kv_transfer_params)
        return _replaced(text, told, _NULL, lambda new: find(new).kv_transfer_params)
    except DECODE_ERRORS:
        return text


def event_mark(path: str) -> bytes:
    """Return what is in every event in which something may be changed."""
    return b'"response"' if path == "/v1/responses" else USAGE


def tells_transfer(text: bytes) -> bool:
    """Whether a text has `kv_transfer_params` that are not null as vLLM writes that: a quick look, to be followed."""
    return text.count(_TRANSFER) != text.count(_TRANSFER + b":null")


def _finder(path: str, *, is_event: bool) -> Callable[[bytes], _Answer]:
    """Return what finds, in a text, the object that has the two. It raises DECODE_ERRORS."""
    if not is_event:
        return _read_whole
    if path == "/v1/responses":
        return lambda text: _read_response_event(text).response
    if path == "/v1/messages":
        return _of_message_event
    return _of_chunk


def _of_message_event(text: bytes) -> _Answer:
    event = _read_message_event(text)
    return event if event.message is None else event.message


def _of_chunk(text: bytes) -> _Answer:
    """Return nothing of chunks with choices: their running usage has no details."""
    chunk = _read_chunk(text)
    return _NOTHING if chunk.choices else chunk


def _counted(family: _Family, usage: bytes, cached: int) -> bytes:
    if not usage.startswith(b"{"):
        return usage
    figures = _figures(usage)
    if not family.details:
        return _split(family, usage, figures, cached)
    details = _value(figures, family.details)
    if details == _NULL:
        return with_members(usage, {family.details: f'{{"{family.cached}":{cached}}}'})
    inner = _figures(details)
    several_turns = len(_read_list(_value(inner, "cached_tokens_per_turn")) or ()) > 1
    if not details.startswith(b"{") or several_turns or _count(inner, family.cached) == cached:
        return usage
    return with_members(usage, {family.details: with_members(details, {family.cached: str(cached)}).decode()})


def _split(family: _Family, usage: bytes, figures: _Figures, cached: int) -> bytes:
    before, others = _count(figures, family.cached), _count(figures, family.others)
    left = (others or 0) + (before or 0) - cached
    if before == cached or others is None or left < 0:
        return usage
    return with_members(usage, {family.others: str(left), family.cached: str(cached)})


def _figures(text: bytes) -> _Figures:
    """Return those of an object; none of anything else. Raises DECODE_ERRORS."""
    return _read_figures(text) if text.startswith(b"{") else _Figures()


def _value(figures: _Figures, name: str) -> bytes:
    """Return a figure's text; `null` where there is none."""
    return bytes(getattr(figures, name)) or _NULL


def _count(figures: _Figures, name: str) -> int | None:
    return _read_count(_value(figures, name))


def _replaced(text: bytes, old: bytes, new: bytes, found: Callable[[bytes], Raw]) -> bytes:
    """Return the text with `new` where `found` finds `old`, which may stand elsewhere, too."""
    position = len(text)
    for _ in range(_MOST_ALIKE if old and new != old else 0):
        position = text.rfind(old, 0, position)
        if position < 0:
            break
        changed = b"%b%b%b" % (text[:position], new, text[position + len(old) :])
        if bytes(found(changed)) == new:
            return changed
    return text
