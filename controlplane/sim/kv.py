"""KV cache blocks with prefix caching: who holds which block, and which may be reused or evicted.

A block is either referenced (by one or more sequences) or free. A free block may still hold a cached part of
some prompt; it can be taken again by its hash until it is evicted, least recently freed first. Usage counts
referenced blocks only, as vLLM's `kv_cache_usage_perc` does.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b

from .kv_log import KvLog


def block_hashes(tokens: Sequence[int], block_size: int, count: int) -> list[bytes]:
    """Return the hashes of the first `count` full blocks; each covers all the tokens before it too."""
    data = array("I", tokens[: count * block_size]).tobytes()
    width = block_size * 4
    hashes: list[bytes] = []
    parent = b""
    for start in range(0, count * width, width):
        parent = blake2b(parent + data[start : start + width], digest_size=8).digest()
        hashes.append(parent)
    return hashes


class BlockPool:
    """The blocks of one worker."""

    def __init__(self, size: int, log: KvLog | None = None) -> None:
        """`log` hears of every block that becomes findable, or is so no more."""
        self.size = size
        self._log = log
        self._references = [0] * size
        self._hash: list[bytes | None] = [None] * size
        self._cached: dict[bytes, int] = {}
        # Mutable: moves to the end when freed, so the front is what to evict.
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(size))

    @property
    def free(self) -> int:
        """Blocks nobody references."""
        return len(self._free)

    @property
    def referenced(self) -> int:
        """Blocks that some sequence holds."""
        return self.size - len(self._free)

    @property
    def cached(self) -> int:
        """Blocks, referenced or free, that can be found by a hash."""
        return len(self._cached)

    def find(self, hashes: Iterable[bytes]) -> list[int]:
        """Return the blocks of the longest cached beginning of the hashes."""
        found: list[int] = []
        for digest in hashes:
            block = self._cached.get(digest)
            if block is None:
                break
            found.append(block)
        return found

    def take(self, hits: Sequence[int], fresh: int) -> list[int] | None:
        """Reference the cached `hits` and `fresh` empty blocks, or return None and change nothing."""
        free = self._free
        if fresh > len(free) - sum(block in free for block in hits):
            return None
        for block in hits:
            free.pop(block, None)
            self._references[block] += 1
        taken = list(hits)
        for _ in range(fresh):
            block, _nothing = free.popitem(last=False)
            digest = self._hash[block]
            if digest is not None:
                del self._cached[digest]
                self._hash[block] = None
                if self._log is not None:
                    self._log.removed(digest)
            self._references[block] = 1
            taken.append(block)
        return taken

    def remember(self, blocks: Sequence[int], hashes: Sequence[bytes], tokens: Sequence[int] = ()) -> None:
        """Make the leading blocks findable by their hashes; a hash that is known keeps its first block.

        `tokens` are those that the hashes were made of; the log tells them.
        """
        fresh = []
        for index, (block, digest) in enumerate(zip(blocks, hashes, strict=False)):
            if self._hash[block] is None and digest not in self._cached:
                self._hash[block] = digest
                self._cached[digest] = block
                fresh.append(index)
        if self._log is not None:
            for start, stop in _runs(fresh):
                self._log.stored(tokens, hashes, start, stop)

    def release(self, blocks: Sequence[int]) -> None:
        """Give up one reference to each block; the tail of a prompt becomes evictable before its head."""
        for block in reversed(blocks):
            self._references[block] -= 1
            if not self._references[block]:
                self._free[block] = None

    def forget(self) -> None:
        """Drop every cached hash, as a restarted engine has none."""
        self._cached.clear()
        self._hash = [None] * self.size
        if self._log is not None:
            self._log.cleared()


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return the runs of rising numbers without gaps: where each starts and stops (excluded)."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs
