"""The policies of a plane: an object for each pool, and for each model there that has a policy of its own.

Taking turns among prefill workers and among decode workers are two things, and so is what either has seen. So each
object hears of the workers of its pool alone, and of what its like on the other planes have learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import msgspec

from dataplane.accounting import Accounting
from dataplane.fleet_view import PoolName
from dataplane.pd.pools import roles_of
from dataplane.policies import PlaneView, Policy
from dataplane.policy_in_use import PolicyInUse
from shared.messages import Learnt, PlaneLearnt
from shared.plane_report import MAX_LACKS, PolicyLack
from shared.policy_places import PolicyPlace, policies_of
from shared.table import RoutingTable, is_disaggregated

PLAIN = PolicyPlace()


class PoolPolicies:
    """One once made for a pool stays: a fleet that loses its last prefill worker for a moment forgets nothing."""

    def __init__(self, table: RoutingTable, plane: PlaneView, accounting: Accounting, now: Callable[[], float]) -> None:
        """Begin with a table's policies, as `PolicyInUse`."""
        self._make: Callable[[PolicyPlace, str, RoutingTable], PolicyInUse] = lambda place, name, table: PolicyInUse(
            place, name, table, plane, accounting, now
        )
        self._in_use: dict[PolicyPlace, PolicyInUse] = {}
        self._disaggregated = False
        self.follow(table)

    @property
    def policy(self) -> Policy:
        """That for whole requests."""
        return self._in_use[PLAIN].policy

    def of(self, pool: PoolName) -> Policy:
        """Return that of a pool which some table had."""
        return self._in_use[PolicyPlace(pool)].policy

    def by_model(self, pool: PoolName) -> dict[str | None, Policy]:
        """Return those of models that have one of their own in a pool."""
        return {
            place.model: one.policy
            for place, one in self._in_use.items()
            if place.pool == pool and place.model is not None
        }

    def follow(self, table: RoutingTable) -> None:
        """Go by a new table."""
        self._disaggregated = self._disaggregated or is_disaggregated(table)
        wanted = policies_of(table.settings, disaggregated=self._disaggregated)
        for place in self._in_use.keys() - wanted.keys():
            self._in_use.pop(place).leave()
        tables: dict[str, RoutingTable] = {}
        for place, name in wanted.items():
            if place.pool not in tables:
                tables[place.pool] = _of_pool(table, place.pool)
            if place in self._in_use:
                self._in_use[place].follow(name, tables[place.pool])
            else:
                self._in_use[place] = self._make(place, name, tables[place.pool])

    def learnt(self) -> Iterator[tuple[PolicyPlace, str, Mapping[str, Learnt]]]:
        """Yield, by place, the policy's name and what it has learnt that the other planes should know."""
        for place, one in self._in_use.items():
            name, learnt = one.learnt()
            if learnt:
                yield place, name, learnt

    def hear(self, told: PlaneLearnt) -> None:
        """Let a policy know what its like on another plane has learnt."""
        if (one := self._in_use.get(told.place)) is not None:
            one.hear(told.policy, told.learnt)

    def finish_session(self, session: str) -> None:
        """Forget a session that is over."""
        for one in self._in_use.values():
            one.policy.finish_session(session)

    def tick(self, now: float) -> None:
        """Account for what choices rested on. About once a second."""
        for one in self._in_use.values():
            one.tick(now)

    def lacks(self) -> tuple[PolicyLack, ...]:
        """Return what choices of the last minute lacked, the most frequent first."""
        found = sorted((lack for one in self._in_use.values() for lack in one.lacks()), key=lambda lack: -lack.count)
        return tuple(found[:MAX_LACKS])


def _of_pool(table: RoutingTable, pool: str) -> RoutingTable:
    """Return the table with the workers of a pool alone."""
    roles = roles_of(pool, table.settings)
    workers = {key: worker for key, worker in table.workers.items() if worker.role in roles}
    return table if len(workers) == len(table.workers) else msgspec.structs.replace(table, workers=workers)
