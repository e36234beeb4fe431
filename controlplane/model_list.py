"""A worker's answer to `GET /v1/models`: which models it serves, and whether that is news."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from shared.decoding import DECODE_ERRORS

MAX_MODELS = 2000
"""Models of one worker; a server with LoRA adapters lists some dozens."""
MAX_ID_LENGTH = 512


class _Answer(msgspec.Struct):
    data: list[msgspec.Raw]


class _Named(msgspec.Struct):
    id: str


class ModelListError(ValueError):
    """The answer is no list of models. The message says why."""


_read_answer = msgspec.json.Decoder(_Answer).decode
_read_named = msgspec.json.Decoder(_Named).decode
_read_any = msgspec.json.Decoder().decode
_encode_sorted = msgspec.json.Encoder(order="deterministic").encode


def read_models(body: bytes) -> dict[str, bytes]:
    """Return each model's entry, as the worker wrote it, by id and in its order. Raises ModelListError."""
    try:
        entries = _read_answer(body).data
        cards = {_read_named(entry).id: bytes(entry) for entry in entries[:MAX_MODELS]}
        # Reading the names skips the rest, which must be sound too: clients get it, and `merge_known` reads it.
        for card in cards.values():
            _read_any(card)
    except DECODE_ERRORS as error:
        raise ModelListError(str(error)) from error
    return {model: card for model, card in cards.items() if 0 < len(model) <= MAX_ID_LENGTH}


def merge_known(known: Mapping[str, bytes], told: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return `told`, with the known entry wherever the new one says nothing new.

    vLLM makes `created` and `permission` up at every request, so the bytes always differ; without this each
    health check of each worker would publish a new routing table.
    """
    return {
        model: known[model] if model in known and _lasting(known[model]) == _lasting(card) else card
        for model, card in told.items()
    }


def _lasting(card: bytes) -> bytes:
    try:
        entry = _read_any(card)
    except DECODE_ERRORS:
        # From the table of an earlier version that took anything.
        return card
    entry.pop("created", None)
    entry.pop("permission", None)
    return _encode_sorted(entry)
