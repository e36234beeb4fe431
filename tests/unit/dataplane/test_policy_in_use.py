"""The policy of a plane: kept while the table names it, counted, and heard when it lacks something."""

from __future__ import annotations

import logging

import pytest

from dataplane.accounting import Accounting
from dataplane.policies.cache_aware import CacheAware
from dataplane.policies.conformance import SampleRequest
from dataplane.policies.round_robin import RoundRobin
from dataplane.policy_in_use import PolicyInUse
from shared import catalog
from shared.messages import Learnt
from shared.plane_report import PolicyLack
from shared.policy_places import PolicyPlace
from tests.unit.dataplane.policies.tables import candidates, names, plane, table

WORKERS = names(3)
PLACE = PolicyPlace("prefill", "m")


def in_use(policy: str, accounting: Accounting | None = None) -> PolicyInUse:
    return PolicyInUse(PLACE, policy, table(*WORKERS), plane(1), accounting or Accounting(), lambda: 0.0)


def test_the_same_object_serves_for_as_long_as_it_is_named() -> None:
    found = in_use("cache_aware")
    first = found.policy
    found.follow("cache_aware", table(*WORKERS, cache_threshold=0.5, version=2))
    assert found.policy is first
    found.follow("round_robin", table(*WORKERS, version=3))
    assert isinstance(found.policy, RoundRobin)
    found.follow("cache_aware", table(*WORKERS, version=4))
    assert isinstance(found.policy, CacheAware)
    assert found.policy is not first


def test_outcomes_are_accounted_for_also_those_of_a_policy_that_is_used_no_more() -> None:
    accounting = Accounting()
    found = in_use("consistent_hash", accounting)
    for _ in range(3):
        found.policy.pick(candidates(*WORKERS), SampleRequest())
    found.tick(0.0)
    found.policy.pick(candidates(*WORKERS), SampleRequest(fields={b"x-session-id": b"s"}))
    found.follow("round_robin", table(*WORKERS, version=2))
    found.tick(1.0)
    told = {series.labels: series.value for series in accounting.counter_series() if "consistent_hash" in series.labels}
    assert told == {
        ("consistent_hash", "no_key", "prefill", "m"): 3,
        ("consistent_hash", "session", "prefill", "m"): 1,
    }
    assert catalog.POLICY_OUTCOMES in catalog.COUNTERS


def test_a_policy_that_lacks_its_input_says_so_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    found = in_use("consistent_hash")
    with caplog.at_level(logging.WARNING):
        for second in range(70):
            found.policy.pick(candidates(*WORKERS), SampleRequest())
            found.tick(float(second))
    assert [record.getMessage() for record in caplog.records] == [
        f"policy consistent_hash (prefill model m): {found.policy.fallbacks['no_key']}"
    ] * 2


def test_news_is_heard_from_the_same_policy_only() -> None:
    found = in_use("sticky_least_loaded")
    learnt = {"w0": Learnt(1, b"12345678")}
    found.hear("cache_aware", learnt)
    assert not found.policy.__dict__["_sessions"]
    found.hear("sticky_least_loaded", learnt)
    assert len(found.policy.__dict__["_sessions"]) == 1
    found.policy.pick(candidates(*WORKERS), SampleRequest(fields={b"x-session-id": b"s"}))
    name, told = found.learnt()
    assert name == "sticky_least_loaded"
    assert len(told) == 1


def test_a_lack_is_told_of_for_a_minute() -> None:
    found = in_use("consistent_hash")
    for second in range(3):
        found.policy.pick(candidates(*WORKERS), SampleRequest())
        found.tick(float(second))
    found.policy.pick(candidates(*WORKERS), SampleRequest(fields={b"x-session-id": b"s"}))
    sentence = found.policy.fallbacks["no_key"]
    assert [*found.lacks()] == [PolicyLack(PLACE, "consistent_hash", "no_key", sentence, 3)]
    found.tick(60.5)
    assert [lack.count for lack in found.lacks()] == [2]
    found.tick(63.0)
    assert not [*found.lacks()]


def test_another_policy_lacks_nothing_of_what_the_one_before_it_did() -> None:
    found = in_use("consistent_hash")
    found.policy.pick(candidates(*WORKERS), SampleRequest())
    found.tick(0.0)
    found.follow("cache_aware", table(*WORKERS, version=2))
    assert not [*found.lacks()]


def test_tokens_found_in_caches_are_accounted_for() -> None:
    accounting = Accounting()
    found = in_use("cache_aware", accounting)
    request = SampleRequest(body=b'{"model": "m", "prompt": "' + b"once upon a time " * 200 + b'"}')
    for _ in range(2):
        found.policy.pick(candidates(*WORKERS), request)
    found.tick(0.0)
    found.tick(1.0)
    prompt, cached = accounting.policy_prompt_tokens["cache_aware"], accounting.policy_cached_tokens["cache_aware"]
    # The second one was found where the first had gone, but for what does not fill a block.
    assert prompt > 1000
    assert prompt * 0.4 < cached <= prompt / 2
