"""What each tenant is to get beside the others of what this plane has. No clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataplane.admission.line import LaneKey
from dataplane.admission.quota import Shared, Slots

_LEAST = 0.5
"""The weight of a tenant of which no part of a limit is meant for this plane: half of what one slot is."""


class Shares:
    """Tenants' weights, and what the control plane has meant for whom."""

    def __init__(self) -> None:
        self.weights: Mapping[str, int] = {}
        """What tenants get beside others, where it is not 1."""
        self.parts: dict[str, Mapping[str, int]] = {}
        """Of limits that are needed more than they suffice: what is each tenant's part of what this plane has."""

    def weight(self, tenant: str, quotas: Sequence[Shared]) -> float:
        """Return what a tenant gets beside others: its part where a limit does not suffice, else what keys say."""
        for quota in reversed(quotas):
            parts = self.parts.get(quota.limit.name)
            if parts:
                # Of one that came since nothing is known. One of which nothing is meant for this plane waits longest.
                part = parts.get(tenant, sum(parts.values()) / len(parts))
                return max(part, _LEAST)
        return self.weights.get(tenant, 1)

    def is_within(self, quota: Slots, key: LaneKey, waiting: int) -> bool:
        """Whether a tenant uses no more than its part of a limit, where requests of so many shares wait."""
        if quota.in_use > quota.allowed:
            return False
        used = quota.by_share[key.share]
        parts = self.parts.get(quota.limit.name)
        if parts:
            return used <= parts.get(key.tenant, sum(parts.values()) / len(parts))
        # It is not known yet what is meant for whom: as much as for each of those who wait.
        return used * (waiting + 1) <= quota.allowed * self.weights.get(key.tenant, 1)
