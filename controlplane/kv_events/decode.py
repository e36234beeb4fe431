"""vLLM's KV cache events, read from the payload of a message.

Two encodings: vLLM up to 0.23 sends an event as an array that begins with its name, later ones as a map with the name
under `type`. Fields came with the versions; what is missing has vLLM's default, what is unknown is passed over.
"""

from __future__ import annotations

from typing import Any

import msgspec

from shared.decoding import DECODE_ERRORS

Handle = int | bytes
"""vLLM's own hash of a block: 64 bits of it, or all."""


class BadEventsError(ValueError):
    """A payload that holds no batch of events."""


class Stored(msgspec.Struct, frozen=True):
    """Blocks that follow each other are held now. `token_ids` are those of all of them, or none of a known block."""

    block_hashes: list[Handle]
    parent_block_hash: Handle | None
    token_ids: list[int]
    block_size: int
    lora_id: int | None = None
    medium: str | None = None
    lora_name: str | None = None
    extra_keys: list[list[Any] | None] | None = None
    group_idx: int | None = None
    kv_cache_spec_kind: str | None = None
    kv_cache_spec_sliding_window: int | None = None
    locality: str | None = None


class Removed(msgspec.Struct, frozen=True):
    """Blocks are held no more in that medium."""

    block_hashes: list[Handle]
    medium: str | None = None
    group_idx: int | None = None
    locality: str | None = None


class Cleared(msgspec.Struct, frozen=True):
    """Nothing is held any more."""


class _StoredMap(Stored, frozen=True, tag="BlockStored"):
    pass


class _RemovedMap(Removed, frozen=True, tag="BlockRemoved"):
    pass


class _ClearedMap(Cleared, frozen=True, tag="AllBlocksCleared"):
    pass


class _StoredArray(Stored, frozen=True, array_like=True, tag="BlockStored"):
    pass


class _RemovedArray(Removed, frozen=True, array_like=True, tag="BlockRemoved"):
    pass


class _ClearedArray(Cleared, frozen=True, array_like=True, tag="AllBlocksCleared"):
    pass


Event = Stored | Removed | Cleared


class Batch(msgspec.Struct, frozen=True):
    """What one message holds. `ts` is the engine's Unix time in seconds; `malformed` counts events left out."""

    ts: float
    events: tuple[Event, ...]
    rank: int | None = None
    malformed: int = 0


class _RawBatch(msgspec.Struct, frozen=True, array_like=True):
    ts: float
    events: list[msgspec.Raw]
    rank: int | None = None


_batch = msgspec.msgpack.Decoder(_RawBatch)
_map = msgspec.msgpack.Decoder(_StoredMap | _RemovedMap | _ClearedMap)
_array = msgspec.msgpack.Decoder(_StoredArray | _RemovedArray | _ClearedArray)


def decode(payload: bytes) -> Batch:
    """Return the events of a payload. Raises BadEventsError."""
    try:
        raw = _batch.decode(payload)
    except DECODE_ERRORS as error:
        raise BadEventsError(str(error)) from error
    events: list[Event] = []
    malformed = 0
    for event in raw.events:
        try:
            events.append(_map.decode(event) if _is_map(event) else _array.decode(event))
        except DECODE_ERRORS:
            malformed += 1
    return Batch(raw.ts, tuple(events), raw.rank, malformed)


def _is_map(event: msgspec.Raw) -> bool:
    first = memoryview(event)[0]
    return first >> 4 == 0x8 or first in (0xDE, 0xDF)
