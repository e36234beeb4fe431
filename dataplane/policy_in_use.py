"""The policy that a plane goes by: made when the table names another one, told of tables, and counted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from dataplane.accounting import Accounting
from dataplane.policies import PlaneView, Policy, lead, policy_class
from shared.messages import Learnt, PlaneLearnt
from shared.table import RoutingTable

logger = logging.getLogger(__name__)

_COMPLAINT_SPACING = 60.0
"""Seconds between two log lines about one lack: it tells of clients, and they may go on for ever."""


class PolicyInUse:
    """Keeps a policy for as long as the table names it, as it may remember things."""

    def __init__(self, table: RoutingTable, plane: PlaneView, accounting: Accounting, now: Callable[[], float]) -> None:
        """Begin with a table's policy; `now` gives the loop's time. Raises PluginError where `refusal` would tell."""
        self._plane = plane
        self._now = now
        self._accounting = accounting
        self._complained: dict[str, float] = {}
        self._name = table.settings.policy
        self.policy: Policy = policy_class(self._name)(self._plane)
        lead(self.policy, table)

    def follow(self, table: RoutingTable) -> None:
        """Go by a new table, and by another policy if it names one."""
        if table.settings.policy != self._name:
            self._count()
            self._name = table.settings.policy
            self._complained.clear()
            self.policy.leave()
            self.policy = policy_class(self._name)(self._plane)
        lead(self.policy, table)

    def learnt(self) -> tuple[str, Mapping[str, Learnt]]:
        """Return the policy's name and what it has learnt that the other planes should know."""
        return self._name, self.policy.learnt()

    def hear(self, told: PlaneLearnt) -> None:
        """Let the policy know what that of another plane has learnt, if it is the same."""
        if told.policy == self._name:
            self.policy.hear(told.learnt, self._now())

    def tick(self, now: float) -> None:
        """Account for what choices rested on, and log where the policy's input was missing. About once a second."""
        for outcome in self._count() & self.policy.fallbacks.keys():
            if now - self._complained.get(outcome, -_COMPLAINT_SPACING) >= _COMPLAINT_SPACING:
                self._complained[outcome] = now
                logger.warning("policy %s: %s", self._name, self.policy.fallbacks[outcome])

    def _count(self) -> set[str]:
        """Move the policy's counts to the account; return the outcomes that there were."""
        outcomes = self.policy.outcomes
        for outcome, count in outcomes.items():
            self._accounting.policy_outcomes[(self._name, outcome)] += count
        seen = set(outcomes)
        outcomes.clear()
        return seen
