"""Which policies there are, what they lack, and how people read it."""

from __future__ import annotations

import msgspec

from controlplane.cli.policies_view import LackView, PolicyView, policy_lines
from controlplane.planes import SILENT_AFTER, Planes
from controlplane.policy_status import LackStatus, PolicyStatus, policy_statuses
from shared.plane_report import PolicyLack
from shared.policy_places import PolicyPlace
from shared.table import ModelCard, RoutingTable, Settings, make_table
from tests.unit.controlplane.reports import identity, report
from tests.unit.controlplane.test_status_builder import build


def table(**settings: object) -> RoutingTable:
    cards = [ModelCard(id="llama-8b", card=b"{}")]
    return make_table(epoch=1, version=1, models=cards, settings=Settings(**settings))  # type: ignore[arg-type]


def lack(place: PolicyPlace, count: int, policy: str = "kv_aware") -> PolicyLack:
    return PolicyLack(place, policy, "no_events", "by cache_aware", count)


def test_what_planes_lack_is_summed_by_place() -> None:
    told = [lack(PolicyPlace("prefill"), 2), lack(PolicyPlace("prefill"), 3), lack(PolicyPlace("decode"), 1, "gone")]
    found = policy_statuses(table(policy="random", prefill_policy="kv_aware", disaggregated=True), told)
    assert found == (
        PolicyStatus(pool="plain", model=None, policy="random"),
        PolicyStatus(
            pool="prefill",
            model=None,
            policy="kv_aware",
            lacks=(LackStatus(outcome="no_events", sentence="by cache_aware", count=5),),
        ),
        # What a policy lacked that is used there no more does not count.
        PolicyStatus(pool="decode", model=None, policy="random"),
    )


def test_a_model_that_nobody_serves_is_named() -> None:
    models = {"llama-8b": "random", "lama-8b": "random", "zzz": "random"}
    found = policy_statuses(table(model_policies=models), ())
    assert [one.unserved for one in found] == [
        "",
        "",
        "no worker serves it; did you mean llama-8b?",
        "no worker serves it",
    ]


def test_planes_that_fell_silent_lack_nothing_any_more() -> None:
    planes = Planes()
    lacks = (lack(PolicyPlace(), 4, "cache_aware"),)
    planes.counters(report(identity("a"), lacks=lacks), 10.0)
    planes.counters(report(identity("b", slot=1), lacks=lacks), 10.0)
    planes.counters(report(identity("c", slot=2), lacks=lacks), 9.0 - SILENT_AFTER)
    [one] = build(planes).policies
    assert [told.count for told in one.lacks] == [8]


def test_one_policy_that_lacks_nothing_is_not_worth_a_line() -> None:
    assert not [*policy_lines([PolicyView(pool="plain", model=None, policy="cache_aware")])]


def test_several_policies_are_named_and_so_is_what_they_lack() -> None:
    lacking = LackView(outcome="no_events", sentence="by cache_aware", count=5)
    shown = [
        PolicyView(pool="plain", model=None, policy="random"),
        PolicyView(pool="prefill", model=None, policy="kv_aware", lacks=[lacking]),
        PolicyView(pool="decode", model="m", policy="random", unserved="no worker serves it"),
    ]
    assert [*policy_lines(shown)] == [
        "",
        "policy random for whole requests",
        "policy kv_aware for prefill",
        "policy random for decode of model m: no worker serves it",
        "",
        "policy kv_aware for prefill lacked its input 5 times in the last minute (no_events):",
        "  by cache_aware",
    ]
    alone = PolicyView(pool="plain", model=None, policy="kv_aware", lacks=[msgspec.structs.replace(lacking, count=1)])
    assert [*policy_lines([alone])] == [
        "",
        "policy kv_aware lacked its input once in the last minute (no_events):",
        "  by cache_aware",
    ]
