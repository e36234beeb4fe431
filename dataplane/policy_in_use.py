"""The policy of one place: made when the table names another one, told of tables, and counted."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping

from dataplane.accounting import Accounting
from dataplane.policies import PlaneView, Policy, lead, policy_class
from shared.messages import Learnt
from shared.plane_report import PolicyLack
from shared.policy_places import PolicyPlace
from shared.table import RoutingTable

logger = logging.getLogger(__name__)

_COMPLAINT_SPACING = 60.0
"""Seconds between two log lines about one lack: it tells of clients, and they may go on for ever."""
_REMEMBERED = 60.0
"""Seconds for which a choice without the policy's input is told of."""
_MAX_SENTENCE = 300
"""Characters of a policy's own words that are passed on."""


class PolicyInUse:
    """Keeps a policy for as long as the table names it there, as it may remember things."""

    def __init__(
        self,
        place: PolicyPlace,
        name: str,
        table: RoutingTable,
        plane: PlaneView,
        accounting: Accounting,
        now: Callable[[], float],
    ) -> None:
        """Begin with a policy; `now` gives the loop's time. Raises PluginError where `refusal` would tell.

        `table` has the workers that may be chosen there.
        """
        self._place = place
        self._plane = plane
        self._now = now
        self._accounting = accounting
        self._complained: dict[str, float] = {}
        self._recent: deque[tuple[float, Counter[str]]] = deque()
        self._name = name
        self.policy: Policy = policy_class(name)(plane)
        lead(self.policy, table)

    def follow(self, name: str, table: RoutingTable) -> None:
        """Go by a new table, and by another policy if it is named."""
        if name != self._name:
            self.leave()
            self._name = name
            self._complained.clear()
            self._recent.clear()
            self.policy = policy_class(name)(self._plane)
        lead(self.policy, table)

    def leave(self) -> None:
        """Account for the last choices of a policy that is used no more."""
        self._count()
        self.policy.leave()

    def learnt(self) -> tuple[str, Mapping[str, Learnt]]:
        """Return the policy's name and what it has learnt that the other planes should know."""
        return self._name, self.policy.learnt()

    def hear(self, policy: str, learnt: Mapping[str, Learnt]) -> None:
        """Let the policy know what that of another plane has learnt, if it is the same."""
        if policy == self._name:
            self.policy.hear(learnt, self._now())

    def tick(self, now: float) -> None:
        """Account for what choices rested on, and log where the policy's input was missing. About once a second."""
        lacks = self._count()
        while self._recent and self._recent[0][0] <= now - _REMEMBERED:
            self._recent.popleft()
        if lacks:
            self._recent.append((now, lacks))
        for outcome in lacks:
            if now - self._complained.get(outcome, -_COMPLAINT_SPACING) >= _COMPLAINT_SPACING:
                self._complained[outcome] = now
                where = f" ({self._place})" if str(self._place) else ""
                logger.warning("policy %s%s: %s", self._name, where, self.policy.fallbacks[outcome])

    def lacks(self) -> Iterator[PolicyLack]:
        """Yield what the policy's choices of the last minute lacked."""
        counts: Counter[str] = sum((counter for _, counter in self._recent), Counter())
        for outcome, count in counts.items():
            sentence = self.policy.fallbacks[outcome][:_MAX_SENTENCE]
            yield PolicyLack(self._place, self._name, outcome, sentence, count)

    def _count(self) -> Counter[str]:
        """Move the policy's counts to the account; return those of choices without the policy's input."""
        outcomes = self.policy.outcomes
        pool, model = self._place.pool, self._place.model or ""
        for outcome, count in outcomes.items():
            self._accounting.policy_outcomes[(self._name, outcome, pool, model)] += count
        lacks = Counter({outcome: outcomes[outcome] for outcome in outcomes.keys() & self.policy.fallbacks.keys()})
        policy, accounting = self.policy, self._accounting
        if policy.prompt_tokens:
            accounting.policy_prompt_tokens[self._name] += policy.prompt_tokens
            accounting.policy_cached_tokens[self._name] += policy.cached_tokens
            policy.prompt_tokens = policy.cached_tokens = 0
        outcomes.clear()
        return lacks
