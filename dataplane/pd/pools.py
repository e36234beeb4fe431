"""Which workers take what, where prefill and decode have workers of their own."""

from __future__ import annotations

from collections.abc import Set

from shared.table import Role, Settings

_ANY: Set[Role] = frozenset({"regular", "decode", "prefill"})
_WITHOUT_PREFILL: Set[Role] = frozenset({"regular", "decode"})
_HALVES: dict[str, Set[Role]] = {"prefill": frozenset({"prefill"}), "decode": frozenset({"decode"})}


def roles_of(pool: str, settings: Settings) -> Set[Role]:
    """Return the roles of a pool's workers. Whole requests go to prefill workers, too, where that is wanted."""
    return _HALVES.get(pool, _ANY if settings.pd_fallback else _WITHOUT_PREFILL)
