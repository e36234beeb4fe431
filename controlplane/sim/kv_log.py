"""What an engine tells of its KV blocks, in vLLM's form: events, gathered into one batch per step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class _Event(msgspec.Struct, omit_defaults=True, tag=True):
    pass


class BlockStored(_Event):
    """Blocks that follow each other are held now."""

    block_hashes: list[int]
    parent_block_hash: int | None
    token_ids: list[int]
    block_size: int
    lora_id: int | None
    medium: str | None
    lora_name: str | None
    extra_keys: list[list[Any] | None] | None = None
    group_idx: int | None = None
    kv_cache_spec_kind: str | None = None


class BlockRemoved(_Event):
    """Blocks are held no more."""

    block_hashes: list[int]
    medium: str | None
    group_idx: int | None = None


class AllBlocksCleared(_Event):
    """Nothing is held any more."""


class _Batch(msgspec.Struct, array_like=True):
    ts: float
    events: list[_Event]
    data_parallel_rank: int


_encode = msgspec.msgpack.Encoder().encode


class KvLog:
    """The events since the last batch."""

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._events: list[_Event] = []

    def stored(self, tokens: Sequence[int], hashes: Sequence[bytes], start: int, stop: int) -> None:
        """Tell of blocks `start` to `stop` (excluded) of a prompt."""
        size = self._block_size
        self._events.append(
            BlockStored(
                block_hashes=[_number(digest) for digest in hashes[start:stop]],
                parent_block_hash=_number(hashes[start - 1]) if start else None,
                token_ids=list(tokens[start * size : stop * size]),
                block_size=size,
                lora_id=None,
                medium="GPU",
                lora_name=None,
                extra_keys=[None] * (stop - start),
                group_idx=0,
                kv_cache_spec_kind="full_attention",
            )
        )

    def removed(self, digest: bytes) -> None:
        """Tell of a block that was evicted."""
        self._events.append(BlockRemoved([_number(digest)], "GPU", 0))

    def cleared(self) -> None:
        """Tell that no block is held any more."""
        self._events.append(AllBlocksCleared())

    def batch(self, ts: float, rank: int = 0) -> bytes | None:
        """Return the payload of the events since the last one; None when there are none. `ts` is Unix time."""
        if not self._events:
            return None
        events, self._events = self._events, []
        return _encode(_Batch(ts, events, rank))


def _number(digest: bytes) -> int:
    return int.from_bytes(digest[-8:], "big")
