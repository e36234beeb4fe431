"""ExampleConnector and LMCache: KV cache that all can reach, found by the prompt's tokens. Nothing is handed over.

What one of this process' workers computed, the others find, in whole blocks. Who finds nothing computes it.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from hashlib import blake2b
from typing import ClassVar

from .base import NO_HANDOFF, EngineSide, Fetched, Leg, Loading

MOST = 100_000
"""Prompts; the oldest go."""


class Example(EngineSide):
    """A folder that all workers have."""

    name: ClassVar[str] = "example"

    def load(self, leg: Leg) -> Loading | None:
        """Read the prompt's blocks, if they are there."""
        whole = self._whole(leg.prompt)
        return self._read(whole) if _key(leg.prompt[:whole]) in self.worker.service.stored else None

    async def _read(self, tokens: int) -> Fetched | None:
        return Fetched(None, tokens)

    def finished(self, leg: Leg, seed: int, *, by_length: bool) -> bytes:
        """Write the prompt's blocks."""
        stored = self.worker.service.stored
        stored[_key(leg.prompt[: self._whole(leg.prompt)])] = None
        while len(stored) > MOST:
            del stored[next(iter(stored))]
        return NO_HANDOFF

    def _whole(self, prompt: Sequence[int]) -> int:
        """Return how many tokens are in blocks that are full; the last token is always computed."""
        size = self.config.block_size
        return (len(prompt) - 1) // size * size


class LmCache(Example):
    """A cache server that all workers have."""

    name: ClassVar[str] = "lmcache"


def _key(tokens: Sequence[int]) -> bytes:
    return blake2b(array("I", tokens).tobytes(), digest_size=16).digest()
