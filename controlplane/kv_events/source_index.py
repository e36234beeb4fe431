"""Which blocks one engine holds, from its events: engine's hash -> key of the router's own (`shared.kv_chain`).

No socket and no clock. An engine may hold a block several times, in one medium or in several: it tells each copy's
coming and going, so copies are counted. Of a model with several kinds of attention it tells each kind by itself; those
that see the whole prompt decide whether a prefix is there, and the first of them speaks for all.
"""

from __future__ import annotations

from controlplane.kv_events.decode import Cleared, Event, Handle, Removed, Stored
from shared.kv_chain import chain, encode_extra, root
from shared.kv_messages import TIER_DEVICE, TIER_DISK, TIER_EXTERNAL, TIER_HOST, TIER_NONE, TIERS

_MEDIA = {"GPU": TIER_DEVICE, "CPU": TIER_HOST, "STORAGE": TIER_DISK, "DISK": TIER_DISK, "FS": TIER_DISK}
_PARTIAL_ATTENTION = ("sliding", "mamba", "local", "linear", "cross", "encoder")
"""Parts of the names of kinds of attention whose cache does not need all of a prompt, or is not of the prompt."""

_Copies = tuple[int, int, int, int]
_ONE_ON_DEVICE: _Copies = (1, 0, 0, 0)


def tier_of(medium: str | None, locality: str | None) -> int:
    """Return the tier of vLLM's `medium` and `locality`; old versions tell neither and mean the device."""
    if locality is not None and locality.upper() == "REMOTE":
        return TIER_EXTERNAL
    return TIER_DEVICE if medium is None else _MEDIA.get(medium.upper(), TIER_EXTERNAL)


class SourceIndex:
    """The blocks of one engine in one life of its cache; `changed` collects what planes must hear of.

    `orphans` counts blocks whose parent is not known, `over_limit` those that there was no room for, `unusable` those
    of events that do not fit together.
    """

    def __init__(self, max_blocks: int, block_size: int | None = None) -> None:
        """Hold at most `max_blocks`. A `block_size` makes blocks of another size unusable."""
        self.block_size = block_size or 0
        self.changed: dict[int, int] = {}
        self.orphans = 0
        self.over_limit = 0
        self.unusable = 0
        self._max_blocks = max_blocks
        self._keys: dict[Handle, int] = {}
        # Copies per tier, of blocks that are not held just once and on the device.
        self._copies: dict[Handle, _Copies] = {}
        self._group: int | None = None
        self._has_group = False

    def __len__(self) -> int:
        return len(self._keys)

    def held(self) -> tuple[list[int], bytes]:
        """Return the blocks' keys, and the best tier of each."""
        if not self._copies:
            return list(self._keys.values()), bytes([TIER_DEVICE]) * len(self._keys)
        return list(self._keys.values()), bytes(map(self._best, self._keys))

    def apply(self, event: Event) -> bool:
        """Take an event in; False when everything is gone with it, so that another life begins."""
        if isinstance(event, Cleared):
            return False
        if isinstance(event, Stored):
            self._store(event)
        else:
            self._remove(event)
        return True

    def _store(self, event: Stored) -> None:
        if not self._is_of_group(event):
            return
        tier = tier_of(event.medium, event.locality)
        if not event.token_ids:
            # Moved to another medium: such events tell the hashes alone.
            for handle in event.block_hashes:
                if handle in self._keys:
                    self._add_copy(handle, tier)
            return
        keys = self._chain(event)
        if keys is None:
            return
        known, changed = self._keys, self.changed
        for handle, key in zip(event.block_hashes, keys, strict=True):
            if handle in known:
                self._add_copy(handle, tier)
            elif len(known) >= self._max_blocks:
                self.over_limit += 1
            else:
                known[handle] = key
                changed[key] = tier
                if tier != TIER_DEVICE:
                    self._copies[handle] = _with((0, 0, 0, 0), tier, 1)

    def _chain(self, event: Stored) -> list[int] | None:
        """Return the blocks' keys; None when the event is of no use."""
        size, count = event.block_size, len(event.block_hashes)
        if size < 1 or len(event.token_ids) != size * count or self.block_size not in (0, size):
            self.unusable += count
            return None
        if event.parent_block_hash is None:
            parent = root(event.lora_name)
        elif event.parent_block_hash in self._keys:
            parent = self._keys[event.parent_block_hash]
        else:
            self.orphans += count
            return None
        try:
            keys = chain(parent, event.token_ids, size, _extra(event))
        except (OverflowError, IndexError):
            self.unusable += count
            return None
        self.block_size = size
        return keys

    def _is_of_group(self, event: Stored) -> bool:
        kind = event.kv_cache_spec_kind
        if event.kv_cache_spec_sliding_window is not None:
            return False
        if kind is not None and any(part in kind for part in _PARTIAL_ATTENTION):
            return False
        if not self._has_group:
            self._group, self._has_group = event.group_idx, True
        return event.group_idx == self._group or event.group_idx is None

    def _remove(self, event: Removed) -> None:
        if self._has_group and event.group_idx not in (None, self._group):
            return
        tier = tier_of(event.medium, event.locality)
        for handle in event.block_hashes:
            key = self._keys.get(handle)
            if key is None:
                continue
            before = self._copies.get(handle, _ONE_ON_DEVICE)
            after = _with(before, tier, -1)
            if after == before:
                continue
            self._set_copies(handle, after)
            if not any(after):
                del self._keys[handle]
                self._copies.pop(handle, None)
                self.changed[key] = TIER_NONE
            else:
                self.changed[key] = _best(after)

    def _add_copy(self, handle: Handle, tier: int) -> None:
        before = self._copies.get(handle, _ONE_ON_DEVICE)
        after = _with(before, tier, 1)
        self._set_copies(handle, after)
        if _best(after) != _best(before):
            self.changed[self._keys[handle]] = _best(after)

    def _set_copies(self, handle: Handle, copies: _Copies) -> None:
        if copies == _ONE_ON_DEVICE:
            self._copies.pop(handle, None)
        else:
            self._copies[handle] = copies

    def _best(self, handle: Handle) -> int:
        return _best(self._copies.get(handle, _ONE_ON_DEVICE))


def _with(copies: _Copies, tier: int, change: int) -> _Copies:
    counts = list(copies)
    counts[tier - 1] = max(0, counts[tier - 1] + change)
    return counts[0], counts[1], counts[2], counts[3]


def _best(copies: _Copies) -> int:
    return next((tier for tier in TIERS if copies[tier - 1]), TIER_NONE)


def _extra(event: Stored) -> list[bytes | None] | None:
    """Return what each block's hash covers beside its tokens, without the adapter, which the chain begins with."""
    if event.extra_keys is None or not any(event.extra_keys):
        return None
    return [
        encode_extra([key for key in keys if key != event.lora_name]) if keys else None for keys in event.extra_keys
    ]
