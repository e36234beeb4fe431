"""G-BAL over simulated engines in virtual time: what planes know late must not unbalance what they do."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from controlplane.sim.config import SimConfig
from dataplane.policies import PlaneView, Policy, policy_class
from tests.simulation.fleet import Arrival, Served, Simulation
from tests.simulation.trace import BLOCK, arrival, conversations

FAST = SimConfig(block_size=16, num_blocks=16_384, max_model_len=65_536)
CACHES = SimConfig(block_size=BLOCK, num_blocks=2000, max_model_len=262_144)
SLOW = msgspec.structs.replace(FAST, prefill_tokens_per_second=4_000.0, decode_ms=50.0)
LOAD_AWARE = ("power_of_two", "least_load", "cache_aware")


def open_load(rate: float, seconds: float, rng: random.Random, *, answer: int = 40) -> list[Arrival]:
    """Requests of a few hundred tokens that have nothing to do with each other."""
    found = []
    at = 0.0
    number = 1
    while (at := at + rng.expovariate(rate)) < seconds:
        found.append(arrival(at, [number], rng.randint(200, BLOCK), rng.randint(answer // 2, 2 * answer)))
        number += 1
    return found


def simulate(
    policy: str,
    trace: Sequence[Arrival],
    configs: Sequence[SimConfig],
    *,
    planes: int,
    frozen_from: float = float("inf"),
    before: Callable[[Simulation], None] = lambda _: None,
) -> list[Served]:
    simulation = Simulation(configs, policy_class(policy), planes=planes, frozen_from=frozen_from)
    before(simulation)
    return simulation.run(trace)


def spread(served: Sequence[Served], workers: int, start: float, end: float) -> float:
    """Requests of the busiest worker, by the mean."""
    counts = Counter(one.worker for one in served if start <= one.at < end)
    return max(counts.values()) * workers / counts.total()


def hit_rate(served: Sequence[Served]) -> float:
    return sum(one.cached for one in served) / sum(one.prompt for one in served)


@pytest.mark.parametrize("policy", ["round_robin", *LOAD_AWARE])
def test_g_bal_1_four_planes_spread_requests_evenly(policy: str) -> None:
    served = simulate(policy, open_load(200, 15, random.Random(1)), [FAST] * 8, planes=4)
    assert spread(served, 8, 3.0, 13.0) <= 1.15


@pytest.mark.parametrize("policy", LOAD_AWARE)
def test_g_bal_1_and_do_so_when_they_hear_nothing_any_more(policy: str) -> None:
    served = simulate(policy, open_load(100, 36, random.Random(2)), [FAST] * 8, planes=4, frozen_from=3.0)
    assert spread(served, 8, 3.0, 33.0) <= 1.5


@pytest.mark.parametrize("policy", LOAD_AWARE)
def test_g_bal_2_a_slow_worker_gets_a_quarter_of_its_share_at_most(policy: str) -> None:
    # Who has as many requests as the others and is 5 times slower gets a fifth of what each of them gets: 0.22 of an
    # equal share. It takes 2 s for an answer here, the others 0.4 s, and before that nobody can know. With this many
    # requests the dice make no more than 0.012 of it.
    served = simulate(policy, open_load(240, 15, random.Random(3)), [SLOW] + [FAST] * 7, planes=4)
    counts = Counter(one.worker for one in served if 2.0 <= one.at < 14.0)
    assert counts["http://worker-0:8000"] <= counts.total() / 8 / 4


def test_g_bal_4_the_hit_rate_does_not_fall_with_the_number_of_planes() -> None:
    trace = conversations(150, turns=6, seconds=150, rng=random.Random(4))
    rates = {planes: hit_rate(simulate("cache_aware", trace, [CACHES] * 8, planes=planes)) for planes in (1, 2, 4)}
    assert rates[1] > 0.6
    assert min(rates.values()) >= 0.97 * rates[1]
    # Where nobody looks at the prompt, a turn finds the one before by chance only.
    assert hit_rate(simulate("round_robin", trace, [CACHES] * 8, planes=4)) < 0.7 * rates[1]


def test_requests_do_not_queue_behind_long_prompts_where_they_need_not() -> None:
    """Prompts differ a hundredfold in length: who counts requests alone lets some wait far longer than others."""

    class CountsRequests(policy_class("cache_aware")):  # type: ignore[misc]
        def pick(self, *arguments: Any) -> Any:
            chosen = super().pick(*arguments)
            self.expected = 0
            return chosen

    rng = random.Random(6)
    trace = []
    at = 0.0
    for number in range(900):
        at += rng.expovariate(7)
        trace.append(arrival(at, range(200 * number, 200 * number + 200), rng.choice((500, 1000, 50_000)), 100))

    def wait_of_short_ones(make: Callable[[PlaneView], Policy]) -> float:
        served = Simulation([CACHES] * 8, make, planes=4).run(trace)
        waits = [one.first_token - one.at for one in served if one.prompt <= 1000]
        return sum(waits) / len(waits)

    assert wait_of_short_ones(policy_class("cache_aware")) < 0.75 * wait_of_short_ones(CountsRequests)


def test_a_restarted_worker_is_not_drowned_in_what_is_missed() -> None:
    """The death spiral: whoever has the emptiest cache gets every prompt that nobody has, and stays so."""
    trace = conversations(200, turns=4, seconds=100, rng=random.Random(5))
    served = simulate(
        "cache_aware",
        trace,
        [CACHES] * 8,
        planes=2,
        before=lambda simulation: simulation.at(50.0, lambda _: simulation.restart(3)),
    )
    after = [one for one in served if one.at >= 50.0]
    share = sum(one.worker == "http://worker-3:8000" for one in after) * 8 / len(after)
    assert 0.4 < share < 1.6
