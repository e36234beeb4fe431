"""Reading workers stays within its share of a core."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.pacing import LONGEST, Pacing, next_stretch


class Machine:
    """A clock and a CPU that is used at the rate that reading at some stretch costs."""

    def __init__(self, cost: float) -> None:
        self.now = 100.0
        self.used = 0.0
        self.cost = cost
        """Share of a core that reading at stretch 1 takes."""

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 0.0

    def cpu(self) -> float:
        return self.used

    def second(self, pacing: Pacing) -> float:
        """Let a second pass; return what was used of the core."""
        share = min(1.0, self.cost / pacing.stretch + 0.01)
        self.now += 1.0
        self.used += share
        pacing.look(0.5)
        return share


@given(st.floats(1, LONGEST), st.floats(0, 2), st.floats(0.01, 1))
def test_the_factor_moves_towards_the_budget_and_stays_in_bounds(stretch: float, share: float, budget: float) -> None:
    after = next_stretch(stretch, share, budget)
    assert 1.0 <= after <= LONGEST
    if share > budget:
        assert after > stretch or after == LONGEST
    if share < 0.5 * budget:
        assert after < stretch or after == 1.0
    assert stretch / 2 <= after <= stretch * 2 or after == 1.0


@pytest.mark.parametrize("cost", [0.05, 0.3, 1.4, 10.0])
def test_a_fleet_of_any_size_comes_under_the_budget_and_stays_there(cost: float) -> None:
    machine = Machine(cost)
    pacing = Pacing(0.2, machine, machine.cpu)
    for _ in range(20):
        machine.second(pacing)
    shares = [machine.second(pacing) for _ in range(50)]
    assert max(shares) <= 0.2
    assert pacing.stretch == 1.0 or min(shares) > 0.15


def test_a_stretch_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(1.0)
    pacing = Pacing(0.2, machine, machine.cpu)
    with caplog.at_level(logging.INFO):
        for _ in range(30):
            machine.second(pacing)
        told = [record.getMessage() for record in caplog.records]
        assert len(told) == 1
        assert "takes more than 20 % of a core" in told[0]
        caplog.clear()
        machine.cost = 0.0
        for _ in range(30):
            machine.second(pacing)
        assert [record.getMessage() for record in caplog.records] == ["reading every worker's load each 0.5 s again"]


def test_what_a_start_takes_for_a_moment_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(1.0)
    pacing = Pacing(0.2, machine, machine.cpu)
    with caplog.at_level(logging.INFO):
        for cost, seconds in ((1.0, 4), (0.0, 10), (1.0, 4), (0.0, 10)):
            machine.cost = cost
            for _ in range(seconds):
                machine.second(pacing)
            assert (pacing.stretch > 1.0) == (cost > 0.0)
    assert not caplog.records


def test_looks_within_a_second_change_nothing() -> None:
    machine = Machine(1.0)
    pacing = Pacing(0.2, machine, machine.cpu)
    machine.used = 50.0
    pacing.look(0.5)
    assert pacing.stretch == 1.0


def test_a_changed_budget_is_kept_within() -> None:
    machine = Machine(1.4)
    pacing = Pacing(0.8, machine, machine.cpu)
    for budget in (0.8, 0.2, 0.5):
        pacing.use(budget)
        for _ in range(20):
            machine.second(pacing)
        assert 0.75 * budget < machine.second(pacing) <= budget
