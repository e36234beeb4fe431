"""The policies of a plane: one for each pool and each model that has one of its own, which never mix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dataplane.accounting import Accounting
from dataplane.policies.conformance import SampleCandidate, SampleRequest
from dataplane.pool_policies import PLAIN, PoolPolicies
from shared.messages import Learnt, PlaneLearnt
from shared.policy_places import PolicyPlace
from shared.table import ModelCard, Role, RoutingTable, Settings, Worker, make_table
from tests.unit.dataplane.policies.tables import plane

PREFILL, DECODE = PolicyPlace("prefill"), PolicyPlace("decode")
ROLES: dict[str, Role] = {"p0": "prefill", "p1": "prefill", "d0": "decode", "d1": "decode"}


def table(roles: Mapping[str, Role] = ROLES, version: int = 1, **settings: Any) -> RoutingTable:
    workers = [Worker(id=name, url=name, state="ready", role=role) for name, role in roles.items()]
    cards = [ModelCard(id="m", card=b"{}")]
    return make_table(epoch=1, version=version, workers=workers, models=cards, settings=Settings(**settings))


def policies(first: RoutingTable) -> PoolPolicies:
    return PoolPolicies(first, plane(0), Accounting(), lambda: 0.0)


def request(text: str) -> SampleRequest:
    return SampleRequest("m", body=b'{"model":"m","prompt":"%b"}' % (text.encode() * 1000))


def candidates(*names: str) -> tuple[SampleCandidate, ...]:
    return tuple(map(SampleCandidate, names))


def test_each_half_goes_by_its_own_policy_and_a_reload_is_enough() -> None:
    found = policies(table(policy="random", prefill_policy="cache_aware"))
    assert [found.of(pool).name for pool in ("plain", "prefill", "decode")] == ["random", "cache_aware", "random"]
    kept = found.of("prefill")
    found.follow(table(policy="random", prefill_policy="cache_aware", decode_policy="power_of_two", version=2))
    assert found.of("prefill") is kept
    assert found.of("decode").name == "power_of_two"
    found.follow(table(policy="random", version=3))
    assert found.of("prefill").name == "random"


def test_what_two_pools_with_one_policy_have_learnt_is_kept_apart() -> None:
    first, other = policies(table(policy="cache_aware")), policies(table(policy="cache_aware"))
    prompt = request("a long story ")
    at_prefill = first.of("prefill").pick(candidates("p0", "p1"), prompt)
    at_decode = first.of("decode").pick(candidates("d0", "d1"), prompt)
    told = {place: (name, dict(learnt)) for place, name, learnt in first.learnt()}
    assert {place: list(learnt) for place, (_, learnt) in told.items()} == {
        PREFILL: [at_prefill.id],
        DECODE: [at_decode.id],
    }
    stamp = table().stamp
    # Of the prefill pool alone: the decode pool's index stays empty.
    name, learnt = told[PREFILL]
    other.hear(PlaneLearnt(stamp, "p", name, learnt, PREFILL))
    lengths = {pool: len(other.of(pool).__dict__["_index"]) for pool in ("plain", "prefill", "decode")}
    assert lengths == {"plain": 0, "prefill": len(learnt[at_prefill.id].hashes) // 8, "decode": 0}
    other.hear(PlaneLearnt(stamp, "p", "random", learnt, DECODE))
    other.hear(PlaneLearnt(stamp, "p", name, learnt, PolicyPlace("prefill", "unknown")))
    assert len(other.of("decode").__dict__["_index"]) == 0


@pytest.mark.parametrize("name", ["consistent_hash", "cache_aware", "sticky_least_loaded"])
@pytest.mark.parametrize(("pool", "roles"), [("prefill", "prefill"), ("decode", "decode")])
def test_planes_agree_in_each_half_before_they_have_talked(name: str, pool: Any, roles: Role) -> None:
    workers: dict[str, Role] = {f"{role}{number}": role for role in ("prefill", "decode") for number in range(9)}
    planes = [policies(table(workers, policy=name)) for _ in range(3)]
    offered = candidates(*(worker for worker, role in workers.items() if role == roles))
    chosen = []
    for number in range(20):
        asked = SampleRequest("m", fields={b"x-session-id": b"s%d" % number}, body=request(f"{number} words ").body)
        [worker] = {one.of(pool).pick(offered, asked).id for one in planes}
        chosen.append(worker)
    # By the ring, and not by whose turn it is among equally loaded ones.
    assert len(set(chosen)) > 3


def test_a_policy_hears_of_the_workers_of_its_pool_alone() -> None:
    found = policies(table(policy="cache_aware"))
    learnt = {"d0": Learnt(1, b"12345678")}
    found.hear(PlaneLearnt(table().stamp, "p", "cache_aware", learnt, PREFILL))
    assert len(found.of("prefill").__dict__["_index"]) == 0


def test_a_model_has_a_policy_object_of_its_own_in_each_pool() -> None:
    found = policies(table(policy="random", decode_policy="least_load", model_policies={"m": "cache_aware"}))
    assert {pool: [*found.by_model(pool)] for pool in ("plain", "prefill", "decode")} == {
        "plain": ["m"],
        "prefill": ["m"],
        "decode": [],
    }
    assert found.by_model("plain")["m"] is not found.by_model("prefill")["m"]
    found.follow(table(policy="random", version=2))
    assert not found.by_model("plain")


def test_a_model_that_goes_by_the_common_policy_again_leaves_its_counts() -> None:
    accounting = Accounting()
    found = PoolPolicies(table({}, model_policies={"m": "consistent_hash"}), plane(0), accounting, lambda: 0.0)
    found.by_model("plain")["m"].pick(candidates("a"), SampleRequest("m"))
    found.follow(table({}, version=2))
    assert accounting.policy_outcomes == {("consistent_hash", "no_key", "plain", "m"): 1}


def test_lacks_are_told_by_place_the_most_frequent_first() -> None:
    found = policies(table(policy="cache_aware", decode_policy="consistent_hash"))
    for pool, count in (("prefill", 1), ("decode", 2)):
        for _ in range(count):
            found.of(pool).pick(candidates(f"{pool[0]}0"), SampleRequest())  # type: ignore[arg-type]
    found.tick(1.0)
    assert [(lack.place, lack.policy, lack.outcome, lack.count) for lack in found.lacks()] == [
        (DECODE, "consistent_hash", "no_key", 2),
        (PREFILL, "cache_aware", "no_prompt", 1),
    ]


def test_a_pool_that_is_empty_for_a_moment_forgets_nothing() -> None:
    found = policies(table())
    kept = found.of("prefill")
    found.follow(table({"a": "regular"}, version=2))
    found.follow(table(version=3))
    assert found.of("prefill") is kept
    assert found.policy is found.of(PLAIN.pool)  # type: ignore[arg-type]
