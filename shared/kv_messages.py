"""What control plane and planes say to each other about KV caches: which engine holds which blocks.

A *source* is one engine: a worker's, or one data-parallel rank of it. What it holds changes in steps, numbered from 1
within one `life` of its cache, which begins empty at 0: after a purge there is another life. A plane follows the
updates, and asks for all of a source when it has missed one; once a second it hears how far each source is.

Each block is told as its key (`shared.kv_chain`) and the best tier that it is held in, so a message says how things
are after it, and saying it twice does no harm.
"""

from __future__ import annotations

from typing import Final

import msgspec

from shared.table import Stamp

TIER_NONE: Final = 0
"""Held no more."""
TIER_DEVICE: Final = 1
TIER_HOST: Final = 2
TIER_EXTERNAL: Final = 3
TIER_DISK: Final = 4
TIERS: Final = (TIER_DEVICE, TIER_HOST, TIER_EXTERNAL, TIER_DISK)
"""The best one first."""

STANDING_INTERVAL = 1.0
"""Seconds between two messages on how far each source is: a lost update shows after it at the latest."""
PAGE_BLOCKS = 2048
"""Blocks in one message: a plane takes them in within 2 ms, and its requests have their turn after it."""


class KvSourceState(msgspec.Struct, frozen=True, array_like=True):
    """How far a source is: `blocks` of `block_size` tokens, after `seq` updates in its present `life`."""

    worker: str
    rank: int
    life: int
    seq: int
    block_size: int
    blocks: int


class KvStanding(msgspec.Struct, frozen=True, tag="kv-standing"):
    """All sources there are. One that is not among them is to be forgotten."""

    stamp: Stamp
    sources: tuple[KvSourceState, ...]


class KvUpdate(msgspec.Struct, frozen=True, tag="kv-update"):
    """Update number `state.seq`: `keys` (8 bytes each) are now held in `tiers` (1 byte each)."""

    stamp: Stamp
    state: KvSourceState
    keys: bytes
    tiers: bytes


class KvPage(msgspec.Struct, frozen=True, tag="kv-page"):
    """Page `page` of `pages` of all that a source holds at `state`; answers the request of the same id."""

    request_id: int
    stamp: Stamp
    state: KvSourceState
    page: int
    pages: int
    keys: bytes
    tiers: bytes


class KvRequest(msgspec.Struct, frozen=True, tag="kv-request"):
    """A plane wants all that a source holds. Answered by `KvPage`s of the same id, unless there is no such source."""

    request_id: int
    worker: str
    rank: int
