"""Which data-parallel rank behind a worker's URL a pairing is for, where a connector must know it beforehand."""

from __future__ import annotations

from collections.abc import Sequence

from dataplane.pd.connector import Peer


def picked_rank(peer: Peer, key: str, ranks: Sequence[int]) -> int:
    """Return the worker's own rank, or one of the `ranks` behind its URL by the pairing's `key`, equally often."""
    return peer.rank if peer.rank is not None else ranks[int(key, 16) % len(ranks)]


def rank_field(peer: Peer, rank: int) -> tuple[tuple[bytes, bytes], ...]:
    """Return the request's field that names the rank; none for a worker that is a rank, which the router names."""
    return ((b"x-data-parallel-rank", b"%d" % rank),) if peer.rank is None else ()
