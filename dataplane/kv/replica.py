"""The plane's copy of which engine holds which KV blocks: messages and time in, requests out. No socket, no clock.

Each source (an engine) is copied by itself (`shared.kv_messages` has the model). While a copy is behind, the old one
goes on serving: what it says was true a moment ago. So it does while the control plane is silent, and for a while after
another one has begun, which has to find the engines first. Only one source is asked for at a time: a plane that starts
in front of 1,000 engines must not be sent all their blocks at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from dataplane.kv.holders import Holders
from shared.kv_chain import KEY_BYTES, unpack
from shared.kv_messages import TIER_DEVICE, TIER_DISK, TIER_NONE, KvPage, KvSourceState, KvStanding, KvUpdate

REQUEST_TIMEOUT = 1.0
"""Seconds without the next page: the control plane was seen to make 64 of them (130,000 blocks) in 30 ms."""
JITTER = 0.05
"""Seconds over which planes spread their requests: all of them miss the same message."""
GRACE = 30.0
"""Seconds for which copies from an earlier control plane serve once another one is heard: it asks workers where they
publish when it has found them ready."""
BUFFER_LIMIT = 1024
"""Updates of one source kept while its pages come."""


class Ask(NamedTuple):
    """Ask the control plane for all that a source holds."""

    request_id: int
    worker: str
    rank: int


class Life(NamedTuple):
    """One life of a source's cache, of one life of the control plane."""

    epoch: int
    life: int


@dataclass(slots=True)
class Copy:
    """What a source holds after update `seq`: the blocks with its `bit` in `Replica.holders`.

    `lower` has the tier of those that are not on the device; `blocks` is how many there are.
    """

    worker: str
    bit: int
    life: Life
    seq: int
    block_size: int
    blocks: int = 0
    lower: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Loading:
    request_id: int
    due: float
    copy: Copy | None = None
    next_page: int = 0
    updates: list[KvUpdate] = field(default_factory=list)


_Key = tuple[str, int]


class Replica:
    """The machine. Times are seconds of one monotonic clock; each input returns what is to be asked for."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.holders = Holders()
        self._copies: dict[_Key, Copy] = {}
        self._by_bit: dict[int, Copy] = {}
        self._by_size: dict[int, int] = {}
        self._by_worker: dict[str, int] = {}
        self._free_bits: list[int] = []
        self._used_bits = 0
        # Bits of copies that are of no use any more, and the sweep that takes them out of `holders`.
        self._dead = 0
        self._sweeping = 0
        self._sweep: Iterator[None] | None = None
        # Sources that a copy is behind of, in order; the first one is being asked for, or will be at `_due`.
        self._wanted: dict[_Key, None] = {}
        self._loading: _Loading | None = None
        self._due = 0.0
        self._last_id = 0
        # The control plane's present life, and until when copies from an earlier one serve.
        self._epoch = 0
        self._grace_ends = 0.0
        self.resyncs = 0
        self.malformed = 0

    @property
    def blocks(self) -> int:
        """Blocks in all copies."""
        return sum(copy.blocks for copy in self._copies.values())

    @property
    def sources(self) -> int:
        """How many sources there are copies of."""
        return len(self._copies)

    @property
    def by_size(self) -> dict[int, int]:
        """The bits of all engines by the size of their blocks; empty when none has told of any."""
        return self._by_size

    def bits_of(self, worker: str) -> int:
        """Return the bits of a worker's engines."""
        return self._by_worker.get(worker, 0)

    def copy_of(self, bit: int) -> Copy:
        """Return the copy of an engine by its bit. Raises KeyError."""
        return self._by_bit[bit]

    def next_tick(self) -> float | None:
        """When `on_tick` wants to be called; None while only a message can change anything."""
        if self._sweep is not None or self._dead:
            return 0.0
        if self._loading is not None:
            return self._loading.due
        return self._due if self._wanted else None

    def on_tick(self, now: float) -> list[Ask]:
        """Take note of the time."""
        self._clean()
        if self._loading is not None and now >= self._loading.due:
            self._give_up(now)
        if self._loading is None and self._wanted and now >= self._due:
            worker, rank = next(iter(self._wanted))
            self._last_id += 1
            self._loading = _Loading(self._last_id, now + REQUEST_TIMEOUT)
            return [Ask(self._last_id, worker, rank)]
        return []

    def on_standing(self, standing: KvStanding, now: float) -> list[Ask]:
        """Compare the copies with how far the sources are."""
        told = {(state.worker, state.rank): state for state in standing.sources}
        if standing.stamp.epoch != self._epoch:
            self._epoch, self._grace_ends = standing.stamp.epoch, now + GRACE
        for key in self._copies.keys() - told.keys():
            if not self._is_earlier(self._copies[key], now):
                self._drop(self._copies.pop(key))
        for key in self._wanted.keys() - told.keys():
            self._forget_wanted(key, now)
        for key, state in told.items():
            if not self._is_level(key, Life(standing.stamp.epoch, state.life), state, now):
                self._want(key, now)
        self._arrange()
        return self.on_tick(now)

    def on_update(self, update: KvUpdate, now: float) -> list[Ask]:
        """Take a change in."""
        key = (update.state.worker, update.state.rank)
        loading = self._loading
        if loading is not None and key == next(iter(self._wanted)):
            if len(loading.updates) < BUFFER_LIMIT:
                loading.updates.append(update)
            return []
        life = Life(update.stamp.epoch, update.state.life)
        copy = self._copies.get(key)
        if update.state.seq == 1 and (copy is None or copy.life < life):
            copy = self._begin(key, life, update.state.block_size)
        if copy is None or not self._apply(copy, life, update):
            self._want(key, now)
        return self.on_tick(now)

    def on_page(self, page: KvPage, now: float) -> list[Ask]:
        """Take a part of an answer in."""
        loading = self._loading
        if loading is None or page.request_id != loading.request_id:
            return []
        life = Life(page.stamp.epoch, page.state.life)
        if page.page == 0 and loading.copy is None:
            loading.copy = self._make(page.state.worker, life, page.state.seq, page.state.block_size)
        copy = loading.copy
        if copy is None or page.page != loading.next_page or copy.life != life or copy.seq != page.state.seq:
            self._give_up(now)
            return self.on_tick(now)
        if not self._put(copy, page.keys, page.tiers):
            self.malformed += 1
            self._give_up(now)
            return self.on_tick(now)
        loading.next_page += 1
        loading.due = now + REQUEST_TIMEOUT
        if loading.next_page >= page.pages:
            self._loaded(loading, copy, now)
        return self.on_tick(now)

    def on_unsent(self, request_id: int, now: float) -> None:
        """Know that a request could not be sent: nobody is there."""
        if self._loading is not None and self._loading.request_id == request_id:
            self._give_up(now)
            self._due = now + REQUEST_TIMEOUT

    # --- inside ----------------------------------------------------------------------------------------

    def _is_earlier(self, copy: Copy, now: float) -> bool:
        """Whether a copy from an earlier control plane serves until the present one knows better."""
        return copy.life.epoch < self._epoch and now < self._grace_ends

    def _is_level(self, key: _Key, life: Life, state: KvSourceState, now: float) -> bool:
        copy = self._copies.get(key)
        if copy is not None and copy.life == life and copy.seq >= state.seq:
            return True
        if state.seq == 0:
            if copy is not None and self._is_earlier(copy, now):
                return True
            self._begin(key, life, state.block_size)
            return True
        return False

    def _apply(self, copy: Copy, life: Life, update: KvUpdate) -> bool:
        """Take an update into a copy; False when it does not follow."""
        if copy.life != life:
            return copy.life > life
        if update.state.seq <= copy.seq:
            return True
        if update.state.seq != copy.seq + 1:
            return False
        if not self._put(copy, update.keys, update.tiers):
            self.malformed += 1
            return False
        copy.seq = update.state.seq
        if copy.block_size != update.state.block_size:
            copy.block_size = update.state.block_size
            self._arrange()
        return True

    def _loaded(self, loading: _Loading, copy: Copy, now: float) -> None:
        key = next(iter(self._wanted))
        self._loading = None
        del self._wanted[key]
        self._due = now
        before = self._copies.get(key)
        if before is None or (before.life, before.seq) <= (copy.life, copy.seq):
            self._copies[key], copy = copy, before or copy
        if copy is not self._copies[key]:
            self._drop(copy)
        self._arrange()
        for update in loading.updates:
            if not self._apply(self._copies[key], Life(update.stamp.epoch, update.state.life), update):
                self._want(key, now)
                return

    def _want(self, key: _Key, now: float) -> None:
        if key in self._wanted:
            return
        if not self._wanted:
            self._due = now + self._rng.uniform(0.0, JITTER)
        if key in self._copies:
            self.resyncs += 1
        self._wanted[key] = None

    def _give_up(self, now: float) -> None:
        """Ask again, after the others."""
        self._end_loading()
        key = next(iter(self._wanted))
        del self._wanted[key]
        self._wanted[key] = None
        self._due = now + self._rng.uniform(0.0, JITTER)

    def _forget_wanted(self, key: _Key, now: float) -> None:
        if self._loading is not None and key == next(iter(self._wanted)):
            self._end_loading()
            self._due = now
        del self._wanted[key]

    def _end_loading(self) -> None:
        if self._loading is not None and self._loading.copy is not None:
            self._drop(self._loading.copy)
        self._loading = None

    # --- copies ----------------------------------------------------------------------------------------

    def _make(self, worker: str, life: Life, seq: int, block_size: int) -> Copy:
        if self._free_bits:
            bit = self._free_bits.pop()
        else:
            bit = 1 << self._used_bits
            self._used_bits += 1
        copy = self._by_bit[bit] = Copy(worker, bit, life, seq, block_size)
        return copy

    def _begin(self, key: _Key, life: Life, block_size: int) -> Copy:
        """Begin a copy that holds nothing in place of the one there is."""
        before = self._copies.get(key)
        if before is not None:
            self._drop(before)
        copy = self._copies[key] = self._make(key[0], life, 0, block_size)
        self._arrange()
        return copy

    def _drop(self, copy: Copy) -> None:
        del self._by_bit[copy.bit]
        self._dead |= copy.bit
        self._clean()

    def _clean(self) -> None:
        """Take a part of what dropped copies held out; their bits are free for others when all is out."""
        if self._sweep is None:
            if not self._dead:
                return
            self._sweeping, self._dead = self._dead, 0
            self._sweep = self.holders.sweep(self._sweeping)
        if next(self._sweep, True) is None:
            return
        self._sweep = None
        while self._sweeping:
            bit = self._sweeping & -self._sweeping
            self._free_bits.append(bit)
            self._sweeping ^= bit

    def _put(self, copy: Copy, packed: bytes, tiers: bytes) -> bool:
        """Take in that blocks are now in tiers; False when the two do not fit together."""
        if len(packed) != KEY_BYTES * len(tiers) or max(tiers, default=0) > TIER_DISK:
            return False
        keys = unpack(packed)
        if tiers.count(TIER_DEVICE) == len(tiers) and not copy.lower:
            copy.blocks += self.holders.add(copy.bit, keys)
            return True
        lower = copy.lower
        for key, tier in zip(keys, tiers, strict=True):
            if tier in (TIER_NONE, TIER_DEVICE):
                lower.pop(key, None)
            else:
                lower[key] = tier
        gone = [key for key, tier in zip(keys, tiers, strict=True) if tier == TIER_NONE]
        held = [key for key, tier in zip(keys, tiers, strict=True) if tier != TIER_NONE]
        copy.blocks += self.holders.add(copy.bit, held) - self.holders.discard(copy.bit, gone)
        return True

    def _arrange(self) -> None:
        self._by_size, self._by_worker = {}, {}
        for copy in self._copies.values():
            self._by_worker[copy.worker] = self._by_worker.get(copy.worker, 0) | copy.bit
            if copy.block_size:
                self._by_size[copy.block_size] = self._by_size.get(copy.block_size, 0) | copy.bit
