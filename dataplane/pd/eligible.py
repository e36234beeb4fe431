"""Which requests are disaggregated. All others go to one worker as a whole, which is always right."""

from __future__ import annotations

import re

import msgspec

from shared.decoding import DECODE_ERRORS
from shared.routes import route_of

_is_one_prompt = re.compile(rb'\s*(?:"|\[\s*\d)').match
"""A text, or a list of token ids. Of several prompts only the first one would be handed over."""


class _Body(msgspec.Struct, frozen=True):
    prompt: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    n: int | None = None
    best_of: int | None = None
    use_beam_search: bool | None = None
    echo: bool | None = None
    prompt_logprobs: int | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    kv_transfer_params: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode = msgspec.json.Decoder(_Body).decode


class _Wanted(msgspec.Struct, frozen=True):
    stream: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None


_read_wanted = msgspec.json.Decoder(_Wanted).decode


def tokens_before_first_byte(body: bytes | bytearray) -> int | None:
    """Return how many tokens are made before anything of an answer comes: 0 for a stream, else the most it may have.

    None when that is not limited, or can not be read for sure.
    """
    try:
        wanted = _read_wanted(body)
    except DECODE_ERRORS:
        return None
    if wanted.stream:
        return 0
    limits = (wanted.max_tokens, wanted.max_completion_tokens, wanted.max_output_tokens)
    return max((limit for limit in limits if limit is not None), default=None)


def can_be_disaggregated(method: str, path: str, body: bytes | bytearray, *, several: bool = False) -> bool:
    """Whether a request may be done by two workers; False for whatever can not be read for sure.

    - Several prompts, and several answers to one (`n`, `best_of`), would use one handoff several times, unless the
      connector hands over `several`. Beam search asks for prompts that nobody knows before.
    - What is told of the prompt (`echo`, `prompt_logprobs`) is known to the prefill worker only.
    - What goes on later or was begun before (`background`, `previous_response_id`) is known to one worker only.
    - A client's own orders for moving KV cache, where clients are trusted, are for one worker.
    """
    if method != "POST" or not route_of(path).hands_over:
        return False
    try:
        asked = _decode(body)
    except DECODE_ERRORS:
        return False
    if path == "/v1/completions" and (
        isinstance(asked.prompt, msgspec.UnsetType) or not (several or _is_one_prompt(bytes(asked.prompt)))
    ):
        return False
    too_many = not several and ((asked.n or 1) > 1 or (asked.best_of or 1) > 1)
    of_prompt = asked.echo or asked.prompt_logprobs is not None or asked.use_beam_search
    elsewhere = asked.background or asked.previous_response_id is not None
    return not (too_many or of_prompt or elsewhere) and asked.kv_transfer_params is msgspec.UNSET
