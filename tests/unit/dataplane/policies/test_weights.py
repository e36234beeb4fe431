"""Shares by weight, of every policy that has them."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.policies import PlaneView, Why, lead, policy_class
from dataplane.policies.conformance import IDLE, SampleCandidate, SampleRequest
from dataplane.policies.weights import _MOST_TURNS, Drawing, Turns, has_weights
from shared.table import RoutingTable, Worker, make_table

REQUEST = SampleRequest()
WEIGHTS = st.lists(st.sampled_from((0.1, 0.5, 1.0, 2.0, 7.0)), min_size=1, max_size=8)


def fleet(*weights: float) -> list[SampleCandidate]:
    return [SampleCandidate(f"w{number}", weight=weight) for number, weight in enumerate(weights)]


def table(*weights: float) -> RoutingTable:
    return make_table(
        epoch=1, version=1, workers=[Worker(id=f"w{n}", url="http://a", weight=w) for n, w in enumerate(weights)]
    )


@given(WEIGHTS, st.integers(1, 300), st.integers(0, 2**32))
def test_turns_are_in_proportion_at_every_moment(weights: list[float], picks: int, seed: int) -> None:
    turns = Turns(random.Random(seed))
    candidates = fleet(*weights)
    counts = Counter(turns.next(candidates, "m").id for _ in range(picks))
    total = sum(weights)
    for one in candidates:
        share = picks * one.weight / total
        # Each has had its turns up to one common time, to within one turn.
        assert abs(counts[one.id] - share) <= 1 + len(weights) * one.weight / total


def test_turns_are_apart() -> None:
    turns = Turns(random.Random(3))
    candidates = fleet(2, 1, 1)
    picked = [turns.next(candidates, None).id for _ in range(40)]
    assert not any(picked[n : n + 3] == ["w0"] * 3 for n in range(38))


def test_who_was_away_does_not_make_up_for_it() -> None:
    turns = Turns(random.Random(1))
    candidates = fleet(1, 2)
    assert {turns.next(candidates, "m").id for _ in range(6)} == {"w0", "w1"}
    for _ in range(300):
        turns.next(candidates[1:], "m")
    counts = Counter(turns.next(candidates, "m").id for _ in range(30))
    assert abs(counts["w0"] - 10) <= 1


def test_turns_that_are_remembered_are_bounded() -> None:
    turns = Turns(random.Random(1))
    candidates = fleet(*[1.0, 2.0] * 500)
    for number in range(200):
        turns.next(candidates, f"made up {number}")
    assert sum(map(len, turns._next.values())) <= _MOST_TURNS


@pytest.mark.parametrize("name", ["round_robin", "random", "power_of_two"])
def test_an_idle_fleet_is_used_by_weight(name: str) -> None:
    policy = policy_class(name)(PlaneView(0, random.Random(5)))
    lead(policy, table(1, 2, 5))
    assert policy.weighted
    candidates = fleet(1, 2, 5)
    count = 8000
    counts = Counter(policy.pick(candidates, REQUEST).id for _ in range(count))
    for one in candidates:
        share = one.weight / 8
        assert abs(counts[one.id] - count * share) < 6 * (count * share * (1 - share)) ** 0.5


@pytest.mark.parametrize("name", ["power_of_two", "least_load"])
@pytest.mark.parametrize("asks", [False, True])
def test_load_counts_per_weight(name: str, *, asks: bool) -> None:
    policy = policy_class(name)(PlaneView(0, random.Random(5)))
    lead(policy, table(1, 4))
    candidates = [
        SampleCandidate("small", busy=IDLE._replace(running=2.0), weight=1),
        SampleCandidate("large", busy=IDLE._replace(running=6.0), weight=4),
    ]
    why = Why() if asks else None
    assert {policy.pick(candidates, REQUEST, why).id for _ in range(20)} == {"large"}
    assert why is None or why.choices[0].score == 1.5


@given(WEIGHTS.filter(lambda weights: len(weights) > 1), st.integers(0, 2**32))
def test_two_that_are_drawn_are_different(weights: list[float], seed: int) -> None:
    drawing = Drawing(random.Random(seed))
    candidates = fleet(*weights)
    for _ in range(20):
        one, other = drawing.two(candidates, None)
        assert one is not other


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-53])
def test_draws_stay_inside_at_their_ends(draw: float) -> None:
    class Always(random.Random):
        def random(self) -> float:
            return draw

    candidates = fleet(0.1, 0.2, 0.3)
    drawing = Drawing(Always())
    assert drawing.one(candidates, None) in candidates
    one, other = drawing.two(candidates, None)
    assert one is not other


def test_a_new_table_is_drawn_from_by_its_weights() -> None:
    policy = policy_class("random")(PlaneView(0, random.Random(5)))
    candidates = fleet(1, 1000)
    lead(policy, table(1, 1000))
    policy.pick(candidates, REQUEST)
    candidates[0], candidates[1] = SampleCandidate("w0", weight=1000), SampleCandidate("w1", weight=1)
    lead(policy, table(1000, 1))
    assert Counter(policy.pick(candidates, REQUEST).id for _ in range(200)).most_common(1)[0][0] == "w0"


def test_equal_weights_are_no_weights() -> None:
    assert not has_weights(table())
    assert not has_weights(table(3, 3))
    assert not has_weights(table(0, 0, 1))
    assert has_weights(table(1, 2))
