"""The policies of a plane: for each pool an object of the one that the table names.

Taking turns among prefill workers and among decode workers are two things, and so is what either has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dataplane.accounting import Accounting
from dataplane.fleet_view import PoolName
from dataplane.pd.pools import POOLS, is_disaggregated
from dataplane.policies import PlaneView, Policy
from dataplane.policy_in_use import PolicyInUse
from shared.messages import Learnt, PlaneLearnt
from shared.table import RoutingTable


class PoolPolicies:
    """What planes tell each other is of the pool whose caches count: the prefill workers, where there are such."""

    def __init__(self, table: RoutingTable, plane: PlaneView, accounting: Accounting, now: Callable[[], float]) -> None:
        """Begin with a table's policy, as `PolicyInUse`."""
        self._make: Callable[[RoutingTable], PolicyInUse] = lambda table: PolicyInUse(table, plane, accounting, now)
        self._in_use: dict[PoolName, PolicyInUse] = {"plain": self._make(table)}
        self._shared: PoolName = "plain"
        self.follow(table)

    @property
    def policy(self) -> Policy:
        """That for whole requests."""
        return self._in_use["plain"].policy

    def of(self, pool: PoolName) -> Policy:
        """Return that of a pool which the last table has."""
        return self._in_use[pool].policy

    def follow(self, table: RoutingTable) -> None:
        """Go by a new table."""
        for one in self._in_use.values():
            one.follow(table)
        has_halves = is_disaggregated(table)
        self._shared = "prefill" if has_halves else "plain"
        if has_halves:
            for pool in POOLS:
                if pool not in self._in_use:
                    self._in_use[pool] = self._make(table)

    def learnt(self) -> tuple[str, Mapping[str, Learnt]]:
        """Return the policy's name and what it has learnt that the other planes should know."""
        return self._in_use[self._shared].learnt()

    def hear(self, told: PlaneLearnt) -> None:
        """Let the policy know what that of another plane has learnt."""
        self._in_use[self._shared].hear(told)

    def finish_session(self, session: str) -> None:
        """Forget a session that is over."""
        for one in self._in_use.values():
            one.policy.finish_session(session)

    def tick(self, now: float) -> None:
        """Account for what choices rested on. About once a second."""
        for one in self._in_use.values():
            one.tick(now)
