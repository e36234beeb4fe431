"""The name of a KV cache block that router and engine agree on without sharing a hash function.

vLLM's own block hashes depend on its settings (`--prefix-caching-hash-algo`, PYTHONHASHSEED). Its events tell each
block's token ids, though, so a block is named here by those and all before them: a chain of 64-bit BLAKE2b digests

    key(block) = H(key(parent) + token ids + extra keys),  key(no parent) = H(name of the LoRA adapter)

Token ids are 32-bit numbers, keys 64-bit ones, in the machine's byte order: they stay among one router's processes.
With 10**6 blocks two of them have the same key with a probability of 3e-8.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import msgspec

KEY_BYTES = 8
_TOKEN_BYTES = 4


def root(lora: str | None) -> int:
    """Return what stands for the parent of a prompt's first block; None is the base model."""
    return _key(b"root" + (lora or "").encode())


def chain(
    parent: int, tokens: Sequence[int], block_size: int, extra: Sequence[bytes | None] | None = None
) -> list[int]:
    """Return the keys of the full blocks of `tokens` that follow `parent`.

    `extra` has for each block what the engine's own hash covers beside the token ids; None is nothing.
    Raises OverflowError or TypeError for what is no token id.
    """
    data = array("I", tokens).tobytes()
    width = block_size * _TOKEN_BYTES
    keys: list[bytes] = []
    before = parent.to_bytes(KEY_BYTES, "little")
    for index, start in enumerate(range(0, len(data) - width + 1, width)):
        digest = blake2b(before + data[start : start + width], digest_size=KEY_BYTES)
        if extra is not None and (more := extra[index]) is not None:
            digest.update(more)
        before = digest.digest()
        keys.append(before)
    return [int.from_bytes(key, "little") for key in keys]


def encode_extra(keys: Sequence[object]) -> bytes | None:
    """Return what an engine's hash of a block covers beside its tokens, for `chain`; None when that is nothing."""
    return msgspec.msgpack.encode(keys) if keys else None


def pack(keys: Iterable[int]) -> bytes:
    """Return keys as they travel."""
    return array("Q", keys).tobytes()


def unpack(data: bytes) -> list[int]:
    """Return the keys in `data`. Raises ValueError when its length is none of whole keys."""
    keys = array("Q")
    keys.frombytes(data)
    return keys.tolist()


def _key(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=KEY_BYTES).digest(), "little")
