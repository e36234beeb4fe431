"""The policies: who is chosen, how evenly, and never somebody else than a candidate."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.load import FORMULAS, Figures
from dataplane.policies import PlaneView, policy_class, policy_names
from dataplane.policies.conformance import IDLE, SampleCandidate, SampleRequest, check_policy
from dataplane.policies.least_load import LeastLoad
from dataplane.policies.power_of_two import PowerOfTwo
from dataplane.policies.random_choice import RandomChoice
from dataplane.policies.round_robin import RoundRobin
from shared.config_faults import LOAD_FORMULAS
from shared.policy_names import POLICIES
from shared.policy_plugins import PluginError
from shared.table import Settings, make_table

REQUEST = SampleRequest()
DRAWS = 6000


def fleet(*loads: float) -> list[SampleCandidate]:
    return [SampleCandidate(f"w{number}", busy=busy(load)) for number, load in enumerate(loads)]


def busy(load: float) -> Figures:
    return IDLE._replace(running=float(load))


def plane(slot: int = 0, rng: random.Random | None = None) -> PlaneView:
    return PlaneView(slot, rng or random.Random(1))


class ScriptedRandom(random.Random):
    """Draws what a test tells it to."""

    def __init__(self, *draws: float) -> None:
        super().__init__()
        self._draws = list(draws)

    def random(self) -> float:
        return self._draws.pop(0)


# --- round robin -----------------------------------------------------------------------------------------


@given(st.integers(0, 100), st.integers(1, 12), st.integers(1, 20))
def test_round_robin_gives_every_worker_its_turn_in_the_tables_order(start: int, workers: int, rounds: int) -> None:
    policy = RoundRobin(plane(start))
    candidates = fleet(*[0.0] * workers)
    picked = [policy.pick(candidates, REQUEST) for _ in range(workers * rounds)]
    assert set(Counter(picked).values()) == {rounds}
    first = start % workers
    assert picked[:workers] == candidates[first:] + candidates[:first]


def test_round_robin_starts_at_another_worker_in_each_plane() -> None:
    candidates = fleet(0, 0, 0, 0)
    firsts = {RoundRobin(plane(slot)).pick(candidates, REQUEST).id for slot in range(4)}
    assert firsts == {"w0", "w1", "w2", "w3"}


def test_round_robin_goes_on_when_the_number_of_workers_changes() -> None:
    policy = RoundRobin(plane())
    for workers in (3, 1, 5, 2, 4):
        candidates = fleet(*[0.0] * workers)
        assert policy.pick(candidates, REQUEST) in candidates


# --- power of two ----------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(0, 2**32))
def test_power_of_two_never_picks_the_worst_when_it_is_alone_the_worst(loads: list[int], seed: int) -> None:
    candidates = fleet(*loads)
    chosen = PowerOfTwo(plane(rng=random.Random(seed))).pick(candidates, REQUEST)
    assert chosen in candidates
    if len(loads) > 1:
        # Whoever is chosen was drawn with somebody who was not better.
        assert any(other.load() >= chosen.load() for other in candidates if other is not chosen)


@pytest.mark.parametrize(
    ("draws", "loads", "expected"),
    [
        ((0.0, 0.0), (1, 2, 3), "w0"),  # w0 and w1
        ((0.0, 0.0), (2, 1, 3), "w1"),
        ((0.0, 0.99), (3, 1, 2), "w2"),  # w0 and w2
        ((0.4, 0.0), (2, 2, 1), "w1"),  # w1 and w0, equal: the first drawn
        ((0.99, 0.99), (0, 3, 4), "w1"),  # w2 and w1
        ((0.99, 0.0), (4, 0, 4), "w2"),  # w2 and w0, equal
    ],
)
def test_power_of_two_takes_the_better_of_the_two_drawn(
    draws: tuple[float, ...], loads: tuple[float, ...], expected: str
) -> None:
    assert PowerOfTwo(plane(rng=ScriptedRandom(*draws))).pick(fleet(*loads), REQUEST).id == expected


def test_power_of_two_draws_every_pair_of_different_workers_equally_often() -> None:
    """A pair is seen by who is asked for its load."""
    asked: list[str] = []

    class Asked(SampleCandidate):
        def load(self) -> float:
            asked.append(self.id)
            return 0.0

    candidates = [Asked(f"w{number}") for number in range(4)]
    policy = PowerOfTwo(plane(rng=random.Random(7)))
    pairs: Counter[frozenset[str]] = Counter()
    first: Counter[str] = Counter()
    for _ in range(DRAWS):
        asked.clear()
        first[policy.pick(candidates, REQUEST).id] += 1
        assert len(asked) == len(set(asked)) == 2
        pairs[frozenset(asked)] += 1
    assert len(pairs) == 6
    # Six standard deviations of a binomial count.
    assert all(abs(count - DRAWS / 6) < 6 * (DRAWS * (1 / 6) * (5 / 6)) ** 0.5 for count in pairs.values())
    assert all(abs(count - DRAWS / 4) < 6 * (DRAWS * (1 / 4) * (3 / 4)) ** 0.5 for count in first.values())


def test_power_of_two_has_no_choice_with_one_worker() -> None:
    assert PowerOfTwo(plane(rng=ScriptedRandom())).pick(fleet(9), REQUEST).id == "w0"


# --- random ----------------------------------------------------------------------------------------------


def test_random_picks_all_equally_often() -> None:
    policy = RandomChoice(plane(rng=random.Random(3)))
    candidates = fleet(*[0.0] * 5)
    counts = Counter(policy.pick(candidates, REQUEST).id for _ in range(DRAWS))
    assert len(counts) == 5
    assert all(abs(count - DRAWS / 5) < 6 * (DRAWS * 0.2 * 0.8) ** 0.5 for count in counts.values())


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-53])
def test_random_stays_inside_at_the_ends_of_its_draw(draw: float) -> None:
    candidates = fleet(0, 0, 0)
    assert RandomChoice(plane(rng=ScriptedRandom(draw))).pick(candidates, REQUEST) in candidates
    assert PowerOfTwo(plane(rng=ScriptedRandom(draw, draw))).pick(candidates, REQUEST) in candidates


# --- least load ------------------------------------------------------------------------------------------


def following(slot: int, planes: int, formula: str = "vllm") -> LeastLoad:
    policy = LeastLoad(plane(slot))
    settings = Settings(data_planes=planes, load_formula=formula)
    policy.follow(make_table(epoch=1, version=1, settings=settings))
    return policy


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(0, 7), st.integers(1, 4))
def test_least_load_picks_one_of_the_least_loaded(loads: list[int], turns: int, slot: int) -> None:
    policy = following(slot, 4)
    for _ in range(turns + 1):
        assert policy.pick(fleet(*loads), REQUEST).load() == min(loads)


def test_least_load_gives_equal_workers_their_turns_and_planes_start_apart() -> None:
    firsts = [[following(slot, 4).pick(fleet(*[0] * 8), REQUEST).id for _ in range(1)] for slot in range(4)]
    assert firsts == [["w0"], ["w2"], ["w4"], ["w6"]]
    policy = following(0, 4)
    assert Counter(policy.pick(fleet(*[0] * 8), REQUEST).id for _ in range(80)) == {f"w{n}": 10 for n in range(8)}


@pytest.mark.parametrize(("formula", "expected"), [("vllm", "few"), ("mvllm", "wide"), ("mvllm-half", "waits")])
def test_least_load_goes_by_the_named_formula(formula: str, expected: str) -> None:
    candidates = [
        SampleCandidate("few", busy=Figures(0, 4.0, 0.0, 0.0, True, 1.0)),
        SampleCandidate("wide", busy=Figures(0, 8.0, 0.0, 0.0, True, 4.0)),
        SampleCandidate("waits", busy=Figures(0, 0.0, 14.0, 0.0, True, 4.0)),
    ]
    if formula == "mvllm":
        candidates.pop()
    assert following(0, 1, formula).pick(candidates, REQUEST).id == expected


# --- names -----------------------------------------------------------------------------------------------


def test_every_name_makes_the_policy_of_that_name() -> None:
    for name in policy_names():
        policy = policy_class(name)(plane())
        assert policy.name == name
        assert policy.pick(fleet(1), REQUEST).id == "w0"


def test_the_configuration_knows_the_same_policies_and_formulas() -> None:
    assert set(POLICIES) == set(policy_names())
    assert set(LOAD_FORMULAS) == set(FORMULAS)
    assert Settings().policy in policy_names()


@pytest.mark.parametrize("name", policy_names())
def test_every_policy_conforms(name: str) -> None:
    check_policy(policy_class(name))


@pytest.mark.parametrize("name", ["", "round-robin", "ROUND_ROBIN", "nonesuch"])
def test_an_unknown_name_is_an_error(name: str) -> None:
    with pytest.raises(PluginError, match="no policy is called"):
        policy_class(name)


# --- turns by model --------------------------------------------------------------------------------------


def test_alternating_models_each_meet_all_their_workers() -> None:
    policy = RoundRobin(plane())
    met: dict[str, set[str]] = {"x": set(), "y": set()}
    for turn in range(8):
        model = "xy"[turn % 2]
        met[model].add(policy.pick(fleet(0.0, 0.0), SampleRequest(model)).id)
    assert met == {"x": {"w0", "w1"}, "y": {"w0", "w1"}}


def test_made_up_models_do_not_grow_it() -> None:
    policy = RoundRobin(plane())
    for number in range(5000):
        policy.pick(fleet(0.0, 0.0), SampleRequest(f"model-{number}"))
    assert len(policy._next) <= 1024
