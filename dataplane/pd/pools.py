"""Which workers take what, where prefill and decode have workers of their own."""

from __future__ import annotations

from collections.abc import Set

from dataplane.fleet_view import PoolName
from shared.table import Role, RoutingTable, Settings

POOLS: tuple[PoolName, ...] = ("plain", "prefill", "decode")
_ANY: Set[Role] = frozenset({"regular", "decode", "prefill"})
_WITHOUT_PREFILL: Set[Role] = frozenset({"regular", "decode"})
_HALVES: dict[PoolName, Set[Role]] = {"prefill": frozenset({"prefill"}), "decode": frozenset({"decode"})}


def is_disaggregated(table: RoutingTable) -> bool:
    """Whether there is prefill/decode: it was asked for, or some worker has such a role."""
    return table.settings.disaggregated or any(worker.role != "regular" for worker in table.workers.values())


def roles_of(pool: PoolName, settings: Settings) -> Set[Role]:
    """Return the roles of a pool's workers. Whole requests go to prefill workers, too, where that is wanted."""
    return _HALVES.get(pool, _ANY if settings.pd_fallback else _WITHOUT_PREFILL)
