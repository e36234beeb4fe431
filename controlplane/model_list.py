"""A worker's answer to `GET /v1/models`: which models it serves, and whether that is news."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

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


class Facts(NamedTuple):
    """What an entry says of the model itself, and what workers may differ in."""

    root: Any
    parent: Any
    max_model_len: Any


def facts(card: bytes) -> Facts:
    """Return the facts of an entry; equal ones are the same object, as they are compared for each new table."""
    entry = _entry(card)
    return _one(Facts(*(_hashable(entry.get(name)) for name in Facts._fields)))


@lru_cache(4096)
def _one(told: Facts) -> Facts:
    return told


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else None


def agreed(card: bytes, told: Iterable[Facts]) -> bytes:
    """Return an entry with what it and the others `told` agree in.

    Of different context lengths it has the least, which all of them take; a root or parent that is not the same for all
    is null.
    """
    first, others = facts(card), tuple(told)
    changed: dict[str, Any] = {
        name: None for name in ("root", "parent") if any(getattr(one, name) != getattr(first, name) for one in others)
    }
    lengths = [one.max_model_len for one in (first, *others) if isinstance(one.max_model_len, int)]
    if any(one.max_model_len != first.max_model_len for one in others) and lengths:
        changed["max_model_len"] = min(lengths)
    return msgspec.json.encode({**_entry(card), **changed}) if changed and _entry(card) else card


def _lasting(card: bytes) -> bytes:
    entry = _entry(card)
    if not entry:
        return card
    entry.pop("created", None)
    entry.pop("permission", None)
    return _encode_sorted(entry)


def _entry(card: bytes) -> dict[str, Any]:
    """Return an entry; an empty one for what is none: tables of earlier versions had anything."""
    try:
        found = _read_any(card)
    except DECODE_ERRORS:
        return {}
    return found if isinstance(found, dict) else {}
