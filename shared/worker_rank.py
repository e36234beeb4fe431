"""Data-parallel ranks: the engines behind one URL, each a worker of its own with the id `URL@rank`.

vLLM's server hands a request to the engine that the field `x-data-parallel-rank` names. The ids are vllm-router's; a
worker's URL has no `@` by itself (`shared.worker_url`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from shared.worker_url import origin

MAX_RANKS = 1024
HEADER = b"x-data-parallel-rank"

_ranked = re.compile(r"(.*)@(0|[1-9][0-9]{0,3})").fullmatch


def rank_ids(url: str, size: int) -> tuple[str, ...]:
    """Return the ids of the workers behind a URL with `size` ranks: just the URL when that is 1."""
    return (url,) if size == 1 else tuple(f"{url}@{rank}" for rank in range(size))


def split_rank(worker_id: str) -> tuple[str, int | None]:
    """Return URL and rank of a worker's id."""
    found = _ranked(worker_id)
    return (worker_id, None) if found is None else (found[1], int(found[2]))


def place(worker_id: str) -> tuple[str, str, int, int | None]:
    """Return what is equal for ids that mean the same worker: scheme, host, port, rank."""
    url, rank = split_rank(worker_id)
    return *origin(url), rank


def resized(ids: Iterable[str], old: int, new: int) -> tuple[str, ...]:
    """Return what ids are once each URL has `new` ranks instead of `old`.

    A URL of which all ranks were named has all of the new ones; else those are left that are still ranks of it.
    """
    named = tuple(ids)
    known = set(named)
    found: dict[str, None] = {}
    for one in named:
        url, rank = split_rank(one)
        if known.issuperset(rank_ids(url, old)):
            found.update(dict.fromkeys(rank_ids(url, new)))
        elif rank is not None and new > max(rank, 1):
            found[one] = None
    return tuple(found)
