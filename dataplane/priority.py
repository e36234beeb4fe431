"""Workers in groups by priority: the best group takes all requests for as long as one of it can take them.

A worker of weight 0 stands behind every other one, whatever its priority. Which groups there are is compiled once per
table; a fleet of one priority has one group, and pays one attribute test per request for this.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

from dataplane.breaker import in_use
from shared.table import Worker

K = TypeVar("K", bound=Hashable)

Rank = tuple[int, ...]


def rank_of(worker: Worker) -> Rank:
    """Return what groups workers; a higher one is preferred. Prefill workers take whole requests last."""
    return (worker.role != "prefill", worker.weight > 0, worker.priority)


def in_groups(
    pool: tuple[K, ...], rank: Callable[[K], Rank], out: Mapping[K, float], percent: int
) -> tuple[tuple[K, ...], ...]:
    """Return a pool's groups, best first, each without those in `out` as `in_use` has it. There is at least one group.

    A group in which all are out comes behind those in which somebody is not.
    """
    ranks = {rank(one) for one in pool}
    if len(ranks) <= 1:
        return (in_use(pool, out, percent),)
    groups = [tuple(one for one in pool if rank(one) == each) for each in sorted(ranks, reverse=True)]
    groups.sort(key=lambda group: all(one in out for one in group))
    return tuple(in_use(group, out, percent) for group in groups)


def first_usable(groups: Iterable[tuple[K, ...]], is_avoided: Callable[[K], bool]) -> tuple[K, ...]:
    """Return the first group in which somebody is not avoided; the first that is not empty if all are."""
    fallback: tuple[K, ...] = ()
    for group in groups:
        if not all(map(is_avoided, group)):
            return group
        fallback = fallback or group
    return fallback
