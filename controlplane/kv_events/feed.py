"""What planes are told of all sources: updates, standings, pages. No socket and no clock.

Lives are numbered over all sources, so that one that comes again is never taken for what it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, islice
from typing import NamedTuple

from controlplane.kv_events.decode import Event
from controlplane.kv_events.source_index import SourceIndex
from shared.kv_chain import pack
from shared.kv_messages import PAGE_BLOCKS, KvPage, KvSourceState, KvStanding, KvUpdate
from shared.table import Stamp


class SourceKey(NamedTuple):
    """An engine: a worker's id, and its data-parallel rank."""

    worker: str
    rank: int


class Lost(NamedTuple):
    """Blocks that an engine told of and that are not in the index; see `SourceIndex`."""

    orphans: int = 0
    over_limit: int = 0
    unusable: int = 0

    def plus(self, index: SourceIndex) -> Lost:
        """Return the sum with those of an index."""
        return Lost(self.orphans + index.orphans, self.over_limit + index.over_limit, self.unusable + index.unusable)


class SourceReport(NamedTuple):
    """How a source is, for people: blocks held and lost, and how often it was purged."""

    key: SourceKey
    blocks: int
    block_size: int
    lost: Lost
    purges: int


class _Source:
    __slots__ = ("index", "life", "lost", "purges", "seq")

    def __init__(self, index: SourceIndex, life: int) -> None:
        self.index = index
        self.life = life
        self.seq = 0
        self.purges = 0
        self.lost = Lost()


class Feed:
    """The indexes of all sources and the messages about them."""

    def __init__(self, max_blocks: int) -> None:
        """Each source may hold at most `max_blocks`."""
        self._max_blocks = max_blocks
        self._sources: dict[SourceKey, _Source] = {}
        self._sizes: dict[SourceKey, int | None] = {}
        self._lives = count(1)

    def add(self, key: SourceKey, block_size: int | None = None) -> None:
        """Know of a source that holds nothing yet; `block_size` is the only one that its blocks may have, if given."""
        self._sizes[key] = block_size
        self._sources[key] = _Source(SourceIndex(self._max_blocks, block_size), next(self._lives))

    def remove(self, key: SourceKey) -> None:
        """Forget a source."""
        self._sources.pop(key, None)
        self._sizes.pop(key, None)

    def apply(self, key: SourceKey, events: Iterable[Event]) -> None:
        """Take a source's events in."""
        source = self._sources[key]
        for event in events:
            if not source.index.apply(event):
                self.purge(key)

    def purge(self, key: SourceKey) -> None:
        """Begin another life of a source's cache: it holds nothing."""
        source = self._sources[key]
        source.lost = source.lost.plus(source.index)
        source.index = SourceIndex(self._max_blocks, self._sizes[key])
        source.life = next(self._lives)
        source.seq = 0
        source.purges += 1

    def updates(self, stamp: Stamp) -> Iterator[KvUpdate]:
        """Yield what has changed since the last call."""
        for key, source in self._sources.items():
            changed, source.index.changed = source.index.changed, {}
            items = iter(changed.items())
            while part := list(islice(items, PAGE_BLOCKS)):
                source.seq += 1
                yield KvUpdate(
                    stamp, _state(key, source), pack(key for key, _ in part), bytes(tier for _, tier in part)
                )

    def standing(self, stamp: Stamp) -> KvStanding:
        """Return how far each source is. `updates` comes before it: what is not told yet must not be in it."""
        return KvStanding(stamp, tuple(_state(key, source) for key, source in self._sources.items()))

    def pages(self, stamp: Stamp, key: SourceKey, request_id: int) -> Iterator[KvPage]:
        """Yield all that a source holds; nothing for one that is not known. `updates` comes before it."""
        source = self._sources.get(key)
        if source is None:
            return
        state = _state(key, source)
        pages = max(1, -(-state.blocks // PAGE_BLOCKS))
        keys, tiers = source.index.held()
        for page in range(pages):
            part = slice(page * PAGE_BLOCKS, (page + 1) * PAGE_BLOCKS)
            yield KvPage(request_id, stamp, state, page, pages, pack(keys[part]), tiers[part])

    def report(self) -> tuple[SourceReport, ...]:
        """Return how each source is."""
        return tuple(
            SourceReport(key, len(source.index), source.index.block_size, source.lost.plus(source.index), source.purges)
            for key, source in self._sources.items()
        )


def _state(key: SourceKey, source: _Source) -> KvSourceState:
    return KvSourceState(key.worker, key.rank, source.life, source.seq, source.index.block_size, len(source.index))
