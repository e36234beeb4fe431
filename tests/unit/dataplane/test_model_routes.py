"""Which arm takes a request: shares by weight, sessions that stay, arms that nobody is ready for."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.model_routes import Arm, Route, of_session, routes_of
from dataplane.subsets import Served, Subset
from shared.model_rules import ModelArm, ModelRule

HEADERS = (b"x-session-id", b"x-user-id")
weights = st.lists(st.floats(0.01, 1000), min_size=2, max_size=8)
sessions = st.lists(st.binary(min_size=1, max_size=20).filter(bytes.strip), min_size=1, max_size=50)


def split(*weights: float) -> ModelRule:
    return ModelRule(split=tuple(ModelArm(to=f"m{number}", weight=weight) for number, weight in enumerate(weights)))


def route(rule: ModelRule, *down: Served) -> Route:
    return routes_of({"n": rule}, lambda served: served not in down)["n"]


def taken(one: Route, session: bytes | None = None, rng: random.Random | None = None) -> str | None:
    fields = {b"x-session-id": session} if session is not None else {}
    found = one.take(fields, HEADERS, rng or random.Random(1))
    return found.arm.model if found is not None else None


def test_an_alias_has_one_arm() -> None:
    arm = Arm("n", "m", "m", "m", 1.0, True, route(ModelRule(to="m")).arms[0].seed)
    assert route(ModelRule(to="m")).take({}, HEADERS, random.Random(1)) == (arm, "single")
    assert route(ModelRule(to="m", rewrite=False)).arms[0].sent_as == "n"


def test_arms_may_be_groups_of_the_models_own_workers() -> None:
    [stable, canary] = route(ModelRule(split=(ModelArm(labels={"t": "s"}), ModelArm(to="m", labels={"t": "c"})))).arms
    assert (stable.served, stable.rewrite, stable.label) == (Subset("n", (("t", "s"),)), False, "t=s")
    assert (canary.served, canary.rewrite, canary.label) == (Subset("m", (("t", "c"),)), True, "m t=c")


def test_an_adapter_is_no_name_for_something_else() -> None:
    assert routes_of({"a": ModelRule(parent="m")}, lambda served: True) == {}


@settings(max_examples=30, deadline=None)
@given(weights, st.integers(0, 2**32))
def test_shares_are_by_weight_without_a_session(weights: list[float], seed: int) -> None:
    one, rng, count = route(split(*weights)), random.Random(seed), 2000
    shares = Counter(taken(one, rng=rng) for _ in range(count))
    for number, weight in enumerate(weights):
        share = weight / sum(weights)
        # Six standard deviations: once in 10^9.
        assert abs(shares[f"m{number}"] - share * count) <= 6 * (count * share * (1 - share)) ** 0.5 + 1


@settings(max_examples=20, deadline=None)
@given(weights, st.integers(0, 2**32))
def test_shares_of_sessions_are_by_weight(weights: list[float], seed: int) -> None:
    one, count = route(split(*weights)), 2000
    shares = Counter(taken(one, b"%d-%d" % (seed, number)) for number in range(count))
    for number, weight in enumerate(weights):
        share = weight / sum(weights)
        assert abs(shares[f"m{number}"] - share * count) <= 6 * (count * share * (1 - share)) ** 0.5 + 1


@settings(max_examples=50, deadline=None)
@given(weights, sessions, st.data())
def test_g_model_2_a_session_moves_only_to_an_arm_that_grows(
    weights: list[float], keys: list[bytes], data: st.DataObject
) -> None:
    growing = data.draw(st.integers(0, len(weights) - 1))
    factor = data.draw(st.floats(1, 100))
    later = [weight * factor if number == growing else weight for number, weight in enumerate(weights)]
    before, after = route(split(*weights)), route(split(*later))
    for key in keys:
        assert taken(after, key) in (taken(before, key), f"m{growing}")


@settings(max_examples=50, deadline=None)
@given(weights, sessions, st.data())
def test_g_model_2_only_the_sessions_of_an_arm_that_is_down_move_and_they_come_back(
    weights: list[float], keys: list[bytes], data: st.DataObject
) -> None:
    down = f"m{data.draw(st.integers(0, len(weights) - 1))}"
    before, after = route(split(*weights)), route(split(*weights), down)
    for key in keys:
        one = taken(before, key)
        assert taken(after, key) != down
        assert one == down or taken(after, key) == one


@settings(max_examples=50, deadline=None)
@given(weights, sessions, st.randoms(use_true_random=False))
def test_g_model_2_every_plane_takes_the_same_arm_whatever_order_arms_stand_in(
    weights: list[float], keys: list[bytes], shuffling: random.Random
) -> None:
    arms = list(route(split(*weights)).arms)
    others = list(arms)
    shuffling.shuffle(others)
    assert [of_session(arms, key) for key in keys] == [of_session(others, key) for key in keys]


def test_the_first_session_header_counts() -> None:
    one = route(split(1, 1))
    fields = {b"x-user-id": b"u", b"x-session-id": b" s "}
    found = one.take(fields, HEADERS, random.Random(1))
    assert found is not None
    assert found.by == "session"
    assert found.arm.model == taken(one, b"s")
    drawn = one.take({b"x-session-id": b" "}, HEADERS, random.Random(1))
    assert drawn is not None
    assert drawn.by == "draw"


def test_names_with_the_same_arms_do_not_split_sessions_alike() -> None:
    routes = routes_of({"a": split(1, 1), "b": split(1, 1)}, lambda served: True)
    keys = [b"%d" % number for number in range(64)]
    assert [taken(routes["a"], key) for key in keys] != [taken(routes["b"], key) for key in keys]


def test_an_arm_that_nobody_is_ready_for_leaves_its_share_to_the_others() -> None:
    one = route(split(90, 5, 5), "m0")
    shares = Counter(taken(one, rng=random.Random(seed)) for seed in range(500))
    assert set(shares) == {"m1", "m2"}
    assert taken(route(split(1, 1), "m0", "m1")) is None


def test_an_arm_of_weight_0_stands_by() -> None:
    one = split(1, 0, 0)
    assert {taken(route(one), b"%d" % key) for key in range(50)} == {"m0"}
    assert {taken(route(one, "m0"), b"%d" % key) for key in range(50)} == {"m1", "m2"}
    assert {taken(route(one, "m0", "m2")) for _ in range(5)} == {"m1"}
