"""How many tokens a request may take, told by its body before anybody has counted them. Settled when it has ended.

Cheap, as a body can be large: a quarter of a JSON body's bytes for the prompt, and what the client asks for at most for
the answer. Data in base64 (pictures, sound) is counted by the piece.
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
_MOST = 1 << 40
_DATA = b";base64,"


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


_decode = msgspec.json.Decoder(_Asked).decode


def estimate(body: bytes | bytearray, route: Route) -> Estimate:
    """Return what a request may take; nothing of one that needs no engine, which is not known of unknown paths."""
    if route.is_computed:
        return NOTHING
    prompt = _prompt(body) if route.model != "form" else 0
    if not route.generates:
        return Estimate(prompt, prompt)
    try:
        asked = _decode(body)
    except DECODE_ERRORS:
        return Estimate(prompt, prompt + ANSWER)
    bound, several = asked.max_completion_tokens, asked.n
    if bound is None:
        bound = asked.max_output_tokens if asked.max_tokens is None else asked.max_tokens
    if bound is None and asked.sampling_params is not None:
        bound, several = asked.sampling_params.max_tokens, asked.sampling_params.n
    answer = (ANSWER if bound is None else max(0, bound)) * max(1, several or 1)
    return Estimate(prompt, min(_MOST, prompt + answer))


def _prompt(body: bytes | bytearray) -> int:
    size, pieces, at = len(body), 0, body.find(_DATA)
    while at >= 0:
        end = body.find(b'"', at)
        size -= (end if end >= 0 else len(body)) - at
        pieces += 1
        at = body.find(_DATA, end) if end >= 0 else -1
    return size // BYTES_PER_TOKEN + pieces * PIECE


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
