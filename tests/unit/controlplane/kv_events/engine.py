"""A small engine that holds blocks and tells of them as vLLM does, for tests of those that listen."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.kv_events.decode import Batch, Event, Removed, Stored
from shared.kv_chain import chain, root

SIZE = 2


def hashes_of(tokens: Sequence[int], lora: str | None = None) -> list[int]:
    """The engine's own hashes: nobody else may make anything of them."""
    return [hash((lora, tuple(tokens[: end + SIZE]))) & (2**64 - 1) for end in range(0, len(tokens) - SIZE + 1, SIZE)]


def stored(tokens: Sequence[int], *, skip: int = 0, lora: str | None = None, medium: str | None = "GPU") -> Stored:
    """The event of all full blocks but the first `skip`."""
    hashes = hashes_of(tokens, lora)
    return Stored(
        block_hashes=list(hashes[skip:]),
        parent_block_hash=hashes[skip - 1] if skip else None,
        token_ids=list(tokens[skip * SIZE : len(hashes) * SIZE]),
        block_size=SIZE,
        lora_name=lora,
        medium=medium,
    )


def removed(tokens: Sequence[int], *, medium: str | None = "GPU") -> Removed:
    """The event of the last block's end."""
    return Removed(block_hashes=[hashes_of(tokens)[-1]], medium=medium)


def keys_of(tokens: Sequence[int], lora: str | None = None) -> list[int]:
    """The keys that all full blocks have in the index."""
    return chain(root(lora), tokens, SIZE)


def batch(*events: Event, ts: float = 0.0) -> Batch:
    return Batch(ts, events)
