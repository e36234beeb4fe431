"""The ring: an order for every key, of which a worker's coming or going changes as little as can be."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from dataplane.policies.ring import Ring, Rings
from shared.table import ModelCard, Worker, make_table
from tests.unit.dataplane.policies.tables import names, table

keys = st.integers(0, 2**64 - 1)
members = st.frozensets(st.sampled_from(names(12)), min_size=1)


def ring(workers: frozenset[str]) -> Ring:
    found = Ring()
    found.follow(dict.fromkeys(workers, 1.0))
    return found


@given(members, keys)
def test_a_walk_meets_everybody_once(workers: frozenset[str], key: int) -> None:
    walked = list(ring(workers).walk(key))
    assert len(walked) == len(workers)
    assert set(walked) == workers


@given(members, members, members, keys)
def test_how_the_ring_came_about_does_not_count(
    first: frozenset[str], second: frozenset[str], last: frozenset[str], key: int
) -> None:
    grown = Ring()
    for workers in (first, second, last):
        grown.follow(dict.fromkeys(workers, 1.0))
    assert list(grown.walk(key)) == list(ring(last).walk(key))


@given(members, keys)
def test_who_goes_leaves_the_others_in_their_order(workers: frozenset[str], key: int) -> None:
    whole = list(ring(workers).walk(key))
    for gone in workers:
        if len(workers) > 1:
            assert list(ring(workers - {gone}).walk(key)) == [one for one in whole if one != gone]


def test_only_the_keys_of_a_lost_worker_move_and_they_scatter() -> None:
    rng = random.Random(1)
    whole, less = ring(frozenset(names(8))), ring(frozenset(names(8)) - {"w3"})
    moved: Counter[str] = Counter()
    for _ in range(4000):
        key = rng.getrandbits(64)
        before, after = next(whole.walk(key)), next(less.walk(key))
        if before == "w3":
            moved[after] += 1
        else:
            assert after == before
    assert 300 < moved.total() < 700
    assert len(moved) == 7


def test_every_worker_has_about_its_share() -> None:
    rng = random.Random(2)
    whole = ring(frozenset(names(20)))
    counts = Counter(next(whole.walk(rng.getrandbits(64))) for _ in range(20_000))
    assert len(counts) == 20
    assert max(counts.values()) < 1.5 * 1000
    assert min(counts.values()) > 0.5 * 1000


def test_a_worker_has_the_share_of_its_weight_and_one_that_grows_moves_no_other_keys() -> None:
    rng = random.Random(3)
    keys = [rng.getrandbits(64) for _ in range(8000)]
    weights = dict.fromkeys(names(8), 1.0)
    found = Ring()
    found.follow(weights)
    before = [next(found.walk(key)) for key in keys]
    found.follow(weights | {"w2": 3.0})
    after = [next(found.walk(key)) for key in keys]
    assert 0.24 < after.count("w2") / len(keys) < 0.36
    assert all(now in (then, "w2") for then, now in zip(before, after, strict=True))
    found.follow(weights)
    assert [next(found.walk(key)) for key in keys] == before


def test_a_model_has_a_ring_of_its_own_workers_in_whatever_state() -> None:
    workers = [
        Worker(id="a", url="a", state="ready", models=("x",)),
        Worker(id="b", url="b", state="unhealthy", models=("x", "y")),
        Worker(id="c", url="c", state="ready", models=None),
    ]
    cards = [ModelCard(id=name, card=b"{}") for name in "xy"]
    rings = Rings()
    rings.follow(make_table(epoch=1, version=1, workers=workers, models=cards))
    assert set(rings.of("x").walk(5)) == {"a", "b", "c"}
    assert set(rings.of("y").walk(5)) == {"b", "c"}
    assert set(rings.of(None).walk(5)) == set(rings.of("made up").walk(5)) == {"a", "b", "c"}


def test_rings_follow_the_table_and_forget_models() -> None:
    rings = Rings()
    assert list(rings.of("m").walk(1)) == []
    rings.follow(table(*names(3)))
    assert set(rings.of("m").walk(1)) == set(names(3))
    assert rings.of("m") is rings.of("m")
    rings.follow(table(*names(5), version=2))
    assert set(rings.of("m").walk(1)) == set(names(5))
    rings.follow(make_table(epoch=1, version=3))
    assert not rings._rings.keys() - {None}
