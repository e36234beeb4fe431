"""The conformance test finds what no policy may do, and plugins are found by name."""

from __future__ import annotations

import random
from collections.abc import Sequence
from copy import copy
from pathlib import Path

import pytest

from dataplane.policies import PlaneView, Policy, Why, policy_class, refusal
from dataplane.policies.base import C, RequestView
from dataplane.policies.conformance import SampleCandidate, SampleRequest, check_policy
from shared.config import StartConfig
from shared.config_faults import faults
from shared.policy_plugins import PluginError
from shared.table import RoutingTable, Settings, make_table


class Shortest(Policy):
    """The example of docs/policies.md: the worker with the fewest requests waiting."""

    name = "shortest"

    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        best = min(candidates, key=lambda one: one.figures().waiting)
        if why is not None:
            why.add(best, "fewest requests waiting", best.figures().waiting)
        return best


class Outsider(Shortest):
    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        return copy(super().pick(candidates, request, why))


class Sorting(Shortest):
    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        assert isinstance(candidates, list)
        candidates.reverse()
        chosen: C = super().pick(candidates, request, why)
        return chosen


class Silent(Shortest):
    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        return super().pick(candidates, request)


class Lying(Shortest):
    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        super().pick(candidates, request, why)
        return max(candidates, key=lambda one: one.figures().waiting)


class Twice(Shortest):
    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        super().pick(candidates, request, why)
        return super().pick(candidates, request, why)


class Fragile(Shortest):
    def follow(self, table: RoutingTable) -> None:
        raise ValueError("no such thing")


def test_a_policy_of_ones_own_conforms() -> None:
    check_policy(Shortest)


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        (Outsider, "none of the candidates"),
        (Sorting, "changed its candidates"),
        (Silent, "gave no reason"),
        (Lying, "another worker first"),
        (Twice, "named a worker twice"),
    ],
)
def test_what_no_policy_may_do_is_found(kind: type[Policy], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_policy(kind)


# --- by name ---------------------------------------------------------------------------------------------


def table(policy: str) -> RoutingTable:
    return make_table(epoch=1, version=1, settings=Settings(policy=policy))


def test_a_policy_is_found_as_module_and_class() -> None:
    name = f"{__name__}:Shortest"
    assert policy_class(name) is Shortest
    assert refusal(table(name)) is None
    assert not list(faults(StartConfig(policy=name)))
    chosen = policy_class(name)(PlaneView(0, random.Random())).pick([SampleCandidate("a")], SampleRequest())
    assert chosen.id == "a"


def test_an_installed_policy_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "mine-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(f"[routerctl.policies]\nmine = {__name__}:Shortest\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert policy_class("mine") is Shortest
    assert not list(faults(StartConfig(policy="mine")))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nobody_has_this:Policy", "can not be imported.*PYTHONPATH"),
        ("json:NoSuchThing", "can not be imported"),
        ("json:dumps", "no class"),
        ("json:JSONDecoder", "no class with a method `pick`"),
        ("best", "choose one of: cache_aware.*module:Class"),
    ],
)
def test_a_name_that_leads_to_no_policy_is_told_with_the_reason(name: str, reason: str) -> None:
    (fault,) = faults(StartConfig(policy=name))
    assert fault.fields == ("policy",)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(fault.text)
    assert refusal(table(name)) is not None
    with pytest.raises(PluginError):
        policy_class(name)


class WithoutWhy(Policy):
    """Its `pick` can not say why."""

    def pick(self, candidates, request):  # type: ignore[no-untyped-def, override]
        return candidates[0]


def test_a_policy_that_is_called_otherwise_is_refused_before_requests_wait_for_it() -> None:
    assert "TypeError: too many positional arguments" in (refusal(table(f"{__name__}:WithoutWhy")) or "")


def test_a_policy_that_fails_at_once_is_refused_before_requests_wait_for_it() -> None:
    assert "ValueError: no such thing" in (refusal(table(f"{__name__}:Fragile")) or "")
