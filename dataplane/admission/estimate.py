"""How many tokens a request may take, told by its body before anybody has counted them. Settled when it has ended.

Cheap, as a body can be large: a quarter of a JSON body's bytes for the prompt, and what the client asks for at most for
the answer. Pictures and sound in a large body are counted by the piece. They are found by the body's form: to search it
takes five times as long as to read it.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from dataplane.exchange import Exchange
from dataplane.usage import Usage
from shared.decoding import DECODE_ERRORS
from shared.routes import Route

BYTES_PER_TOKEN = 4
"""Of English text in JSON; other languages have fewer bytes to a token, code and token ids more."""
ANSWER = 256
"""Tokens of an answer for which a client names no bound: about two hundred words."""
PIECE = 1000
"""Tokens of a picture or a sound: what vision models make of a picture of a million pixels."""
LARGE = 16 << 10
"""Bytes of a body in which pictures and sound are looked for, and of one of them at least."""
_MOST = 1 << 40
_SPACED = 64
_HEAD = 256
"""Bytes of a part of a message that say what it is."""


class Estimate(NamedTuple):
    """Tokens of the prompt, and of it and the answer together."""

    prompt: int
    tokens: int


NOTHING = Estimate(0, 0)


class _Sampling(msgspec.Struct):
    max_tokens: int | None = None
    n: int | None = None


class _Asked(msgspec.Struct):
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    n: int | None = None
    sampling_params: _Sampling | None = None


class _Message(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(b"")


class _Conversation(_Asked):
    messages: tuple[_Message, ...] = ()
    input: msgspec.Raw = msgspec.Raw(b"")


_decode = msgspec.json.Decoder(_Asked).decode
_conversation = msgspec.json.Decoder(_Conversation).decode
_messages = msgspec.json.Decoder(tuple[_Message, ...]).decode
_parts = msgspec.json.Decoder(tuple[msgspec.Raw, ...]).decode


def estimate(body: bytes | bytearray, route: Route) -> Estimate:
    """Return what a request may take; nothing of one that needs no engine."""
    if route.is_computed:
        return NOTHING
    is_form, is_large = route.model == "form", len(body) >= LARGE
    prompt = 0 if is_form else len(body) // BYTES_PER_TOKEN
    if not (route.generates or is_large) or is_form:
        return Estimate(prompt, prompt + ANSWER * route.generates)
    try:
        asked = _conversation(body) if is_large else _decode(body)
        if isinstance(asked, _Conversation):
            pieces, size = _pieces(asked)
            prompt += pieces * PIECE - size // BYTES_PER_TOKEN
    except DECODE_ERRORS:
        return Estimate(prompt, prompt + ANSWER * route.generates)
    if not route.generates:
        return Estimate(prompt, prompt)
    bound, several = asked.max_completion_tokens, asked.n
    if bound is None:
        bound = asked.max_output_tokens if asked.max_tokens is None else asked.max_tokens
    if bound is None and asked.sampling_params is not None:
        bound, several = asked.sampling_params.max_tokens, asked.sampling_params.n
    answer = (ANSWER if bound is None else max(0, bound)) * max(1, several or 1)
    return Estimate(prompt, min(_MOST, prompt + answer))


def _pieces(asked: _Conversation) -> tuple[int, int]:
    """Return how many pictures and sounds messages bring with them, and how many bytes those are."""
    messages = asked.messages
    if not messages and _first(asked.input) == b"[{":
        messages = _messages(asked.input)
    parts = [part for one in messages if _first(one.content) == b"[{" for part in _parts(one.content)]
    sizes = [len(memoryview(part)) for part in parts if len(memoryview(part)) >= LARGE and _is_data(part)]
    return len(sizes), sum(sizes)


def _first(raw: msgspec.Raw) -> bytes:
    """Return the first two characters: of what is a list of objects both brackets."""
    return bytes(memoryview(raw)[:_SPACED]).replace(b" ", b"").replace(b"\n", b"")[:2]


def _is_data(part: msgspec.Raw) -> bool:
    head = bytes(memoryview(part)[:_HEAD])
    return b"base64" in head or b"_audio" in head


def spent(asked: Estimate, exchange: Exchange | None, usage: Usage | None, *, is_whole: bool) -> int | None:
    """Return the tokens that a request took which was sent to a worker; None: not known.

    As its answer says in `usage`; else, of a stream, the prompt as it was estimated and a token for each event. One
    that failed took none. `exchange` is the last attempt's, `is_whole` whether the client got all of its answer.
    """
    if usage is not None:
        return usage.prompt + usage.output
    if exchange is None or not exchange.status:
        # Of one whose client left before anything came, the engine has worked at the prompt at most.
        return asked.prompt
    if exchange.status >= 400:
        return 0
    if exchange.is_stream:
        return asked.prompt + max(0, exchange.gaps + 1)
    return None if is_whole else asked.prompt
