"""Which worker has probably cached which prompts' beginnings: what this plane sent there, and what others told.

It is a guess: an engine evicts when it must, and tells nobody. So what was not used for longest is forgotten first, and
each worker's share is bounded by what its cache may hold (`--max-tree-size`, in bytes of prompts), all of it by memory.
Entries are the hashes of `prompt.py`; each stands for a whole beginning, so the deepest one that is known tells all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from dataplane.policies.prompt import length_of, size_of

ENTRY_BYTES = 300
"""Memory of one hash of one worker, measured: an entry in each of two dictionaries, and the numbers in them."""
_MOST_HOLDERS = 16
"""Workers remembered for one beginning: that of every prompt may be on all of them, and then it tells nothing."""
_DROPPED_AT_ONCE = 256


class _Life:
    """What one life of one worker has; hashes in the order of their last use."""

    __slots__ = ("alone", "blocks", "length", "number", "worker")

    def __init__(self, worker: str, number: int) -> None:
        self.worker = worker
        self.number = number
        # Shared by all the blocks that nobody else has: most of them.
        self.alone = (number,)
        self.length = 0
        self.blocks: OrderedDict[int, None] = OrderedDict()


class PrefixIndex:
    """Lives of workers are known by numbers that are used once: those of a life that is over mean nothing any more."""

    def __init__(self, *, max_length: int, max_bytes: int) -> None:
        """Keep at most `max_length` bytes of prompts per worker, in at most about `max_bytes` of memory."""
        self.limit(max_length=max_length, max_bytes=max_bytes)
        self._holders: dict[int, tuple[int, ...]] = {}
        self._lives: dict[str, tuple[int, _Life]] = {}
        self._by_number: dict[int, _Life] = {}
        self._over: list[_Life] = []
        self._last = 0
        self._entries = 0

    def limit(self, *, max_length: int, max_bytes: int) -> None:
        """Keep other bounds from the next change on."""
        self._max_length = max_length
        self._max_entries = max(1, max_bytes // ENTRY_BYTES)

    def __len__(self) -> int:
        """Return the number of entries, of `ENTRY_BYTES` each."""
        return self._entries

    def follow(self, epochs: Mapping[str, int]) -> None:
        """Forget workers that are gone, and lives that are over. `epochs` has the life of each worker."""
        for worker in [worker for worker, (epoch, _) in self._lives.items() if epochs.get(worker) != epoch]:
            _, life = self._lives.pop(worker)
            del self._by_number[life.number]
            self._over.append(life)

    def sweep(self) -> bool:
        """Free some of the memory of lives that are over; returns whether there is more to free."""
        if self._over:
            life = self._over[-1]
            self._shrink(life, _DROPPED_AT_ONCE)
            if not life.blocks:
                self._over.pop()
        return bool(self._over)

    def learn(self, worker: str, epoch: int, blocks: Sequence[int]) -> list[int]:
        """Note that a life of a worker has these blocks, as of now. Returns those that were not known of it."""
        known = self._lives.get(worker)
        if known is None or known[0] < epoch:
            if known is not None:
                self.follow({name: old for name, (old, _) in self._lives.items() if name != worker})
            self._last += 1
            known = self._lives[worker] = (epoch, _Life(worker, self._last))
            self._by_number[self._last] = known[1]
        elif known[0] > epoch:
            return []
        life = known[1]
        mine, number, holders = life.blocks, life.number, self._holders
        new = []
        # The end of a prompt must go before its beginning, so the beginning is used last.
        for block in reversed(blocks):
            if block in mine:
                mine.move_to_end(block)
                continue
            mine[block] = None
            before = holders.get(block)
            if before is None:
                holders[block] = life.alone
            elif len(before) < _MOST_HOLDERS:
                holders[block] = (*before, number)
            life.length += size_of(block)
            new.append(block)
        self._entries += len(new)
        while life.length > self._max_length:
            self._drop_oldest(life)
        self._keep_to_memory(life)
        new.reverse()
        return new

    def holders(self, blocks: Sequence[int], most: int, above: float = 0.0) -> list[tuple[str, int]]:
        """Return up to `most` workers that have a beginning of these blocks, with its length: the longest first.

        Beginnings of no more than `above` bytes are left out.
        """
        found: list[tuple[str, int]] = []
        seen: set[int] = set()
        by_number = self._by_number
        last: tuple[int, ...] = ()
        for block in reversed(blocks):
            numbers = self._holders.get(block, ())
            if numbers is last:
                continue
            last = numbers
            if length_of(block) <= above:
                break
            for number in numbers:
                if number in seen:
                    continue
                seen.add(number)
                life = by_number.get(number)
                if life is not None:
                    found.append((life.worker, length_of(block)))
                    if len(found) == most:
                        return found
        return found

    def _keep_to_memory(self, life: _Life) -> None:
        while self._entries > self._max_entries:
            if self.sweep():
                continue
            if self._entries <= self._max_entries:
                return
            # Who has more than its part gives first; looking for the largest each time would cost more.
            part = self._max_entries // max(1, len(self._by_number))
            if len(life.blocks) < part:
                life = max(self._by_number.values(), key=lambda one: len(one.blocks))
            self._shrink(life, _DROPPED_AT_ONCE)

    def _shrink(self, life: _Life, count: int) -> None:
        for _ in range(min(count, len(life.blocks))):
            self._drop_oldest(life)

    def _drop_oldest(self, life: _Life) -> None:
        block, _ = life.blocks.popitem(last=False)
        life.length -= size_of(block)
        self._entries -= 1
        left = tuple(number for number in self._holders.get(block, ()) if number != life.number)
        if left:
            self._holders[block] = left
        else:
            self._holders.pop(block, None)
