"""What connectors have in common that read `kv_transfer_params`, or need a prefill that ends by its length."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from shared.decoding import DECODE_ERRORS

CUT = {"ignore_eos": "true"}
"""Makes an answer go on at what would be its end, so that it ends by its length."""
STOPS = ("stop", "stop_token_ids", "stop_sequences")
"""Makes an answer end otherwise."""


class _Choice(msgspec.Struct, frozen=True):
    finish_reason: str | None = None


class _Answer(msgspec.Struct, frozen=True):
    kv_transfer_params: dict[str, Any] | None = None
    choices: list[_Choice] | None = None
    stop_reason: str | None = None
    status: str | None = None


_decode = msgspec.json.Decoder(_Answer).decode


def handed_over(answer: bytes, needed: Iterable[str]) -> dict[str, Any] | None:
    """Return what a prefill's answer hands over; None when there is none, or a needed key is missing or null."""
    try:
        told = _decode(answer).kv_transfer_params
    except DECODE_ERRORS:
        return None
    if told is None or told.get("do_remote_prefill") is not True:
        return None
    return told if all(told.get(key) is not None for key in needed) else None


def ended_by_length(answer: bytes) -> bool:
    """Whether an answer of any of the endpoints was cut after its one token, and did not end by itself."""
    try:
        told = _decode(answer)
    except DECODE_ERRORS:
        return False
    if told.choices:
        return told.choices[0].finish_reason == "length"
    # `/v1/messages` and `/v1/responses`.
    return told.stop_reason == "max_tokens" or told.status == "incomplete"
