"""Which engines hold which blocks: a set of engines for each block, as bits of a number.

So to find the longest beginning of a prompt that some engine holds costs one look-up a block, however many engines
there are: 0.1 us. A block takes about 110 bytes, whoever holds it. It is kept in 64 parts, because a dict that grows is
copied as a whole: of 10**6 blocks that would take 40 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

_PARTS = 64
_PART = _PARTS - 1


class Holders:
    """Engines are given as bits: numbers of which just one bit is set, or several for several engines."""

    def __init__(self) -> None:
        self._parts: tuple[dict[int, int], ...] = tuple({} for _ in range(_PARTS))

    def __len__(self) -> int:
        """Return how many blocks somebody holds."""
        return sum(map(len, self._parts))

    def add(self, bit: int, keys: Iterable[int]) -> int:
        """Let an engine hold blocks; return how many it did not hold before."""
        parts = self._parts
        added = 0
        for key in keys:
            part = parts[key & _PART]
            before = part.get(key)
            if before is None:
                # The number itself: all blocks that one engine alone holds share it.
                part[key] = bit
                added += 1
            elif not before & bit:
                part[key] = before | bit
                added += 1
        return added

    def discard(self, bit: int, keys: Iterable[int]) -> int:
        """Let an engine hold blocks no more; return how many it held."""
        parts = self._parts
        removed = 0
        for key in keys:
            part = parts[key & _PART]
            before = part.get(key, 0)
            if before & bit:
                removed += 1
                if before == bit:
                    del part[key]
                else:
                    part[key] = before ^ bit
        return removed

    def depths(self, keys: Sequence[int], engines: int) -> list[tuple[int, int]]:
        """Return how many blocks from the first one on engines hold, the deepest first, each with its engines.

        Only `engines` count; those that do not hold the first block are left out.
        """
        parts = self._parts
        alive = engines
        found: list[tuple[int, int]] = []
        for depth, key in enumerate(keys):
            still = parts[key & _PART].get(key, 0) & alive
            if still == alive:
                continue
            if depth:
                found.append((depth, alive ^ still))
            alive = still
            if not alive:
                break
        if alive and keys:
            found.append((len(keys), alive))
        found.reverse()
        return found

    def held(self, bit: int) -> Iterator[int]:
        """Yield the blocks of an engine."""
        return (key for part in self._parts for key, bits in part.items() if bits & bit)

    def sweep(self, bits: int) -> Iterator[None]:
        """Let engines hold nothing, a part at each step."""
        for part in self._parts:
            for key in [key for key, before in part.items() if before & bits]:
                after = part[key] & ~bits
                if after:
                    part[key] = after
                else:
                    del part[key]
            yield
