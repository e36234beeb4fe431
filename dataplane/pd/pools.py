"""Which workers take what, where prefill and decode have workers of their own."""

from __future__ import annotations

from collections.abc import Set

from dataplane.pd.connectors import connector_of
from shared.table import Role, RoutingTable, Settings, is_disaggregated

_REGULAR: Set[Role] = frozenset({"regular"})
_ANY: Set[Role] = frozenset({"regular", "decode", "prefill"})
_WITHOUT_PREFILL: Set[Role] = frozenset({"regular", "decode"})
_HALVES: dict[str, Set[Role]] = {"prefill": frozenset({"prefill"}), "decode": frozenset({"decode"})}


def roles_of(pool: str, settings: Settings) -> Set[Role]:
    """Return the roles of a pool's workers. Whole requests go to prefill workers, too, where that is wanted.

    They go to regular workers only where the connector needs two for each.
    """
    if pool in _HALVES:
        return _HALVES[pool]
    if not connector_of(settings.kv_connector).serves_whole:
        return _REGULAR
    return _ANY if settings.pd_fallback else _WITHOUT_PREFILL


def kind_of(pool: str, table: RoutingTable) -> str:
    """Return what a pool's workers are called where there is none."""
    if pool != "plain":
        return f"{pool} worker"
    if is_disaggregated(table) and roles_of(pool, table.settings) == _REGULAR:
        return f"regular worker (by --kv-connector {table.settings.kv_connector} no other can do all of a request)"
    return "worker"
