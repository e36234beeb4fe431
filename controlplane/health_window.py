"""What the last checks of a worker say together: mvllm's rules, for those who have set them.

A worker that fails every third check never fails three in a row, and one whose checks all take long passes every one
of them. Each rule looks at the last `size` checks. Those that were not made yet count as good and quick, so that the
first failure of a worker's life does not end it.

A busy engine answers its health check late. Who asks for `max_response_time` wants it out of service for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class WindowRules(NamedTuple):
    """The operator's numbers; 0 switches a rule off. `max_response_time` is the longest mean in seconds."""

    size: int = 10
    min_success_rate: float = 0.0
    max_response_time: float = 0.0

    @property
    def are_set(self) -> bool:
        """Whether any of them is."""
        return self.min_success_rate > 0 or self.max_response_time > 0


class Check(NamedTuple):
    """One check: whether it was good, and how many seconds its answer took."""

    good: bool
    seconds: float


def fault(checks: Sequence[Check], rules: WindowRules) -> str:
    """Return what is wrong with the last checks, for people; empty when nothing is."""
    last = checks[-rules.size :]
    rate = 1 - sum(not check.good for check in last) / rules.size
    # A hundredth of a check less is rounding: 0.67 is two of three.
    if rate < rules.min_success_rate - 0.01 / rules.size:
        return f"{rate:.0%} of the last {rules.size} checks were good, {rules.min_success_rate:.0%} are wanted"
    mean = sum(check.seconds for check in last) / rules.size
    if 0 < rules.max_response_time < mean:
        return f"the last {rules.size} checks took {mean:.2g} s each, {rules.max_response_time:g} s are allowed"
    return ""
