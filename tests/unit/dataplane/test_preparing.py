"""What policies prepare: once for each kind, for the pools that a request goes to."""

from __future__ import annotations

import asyncio
import random
from asyncio import Future
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dataplane.fleet_view import FleetView
from dataplane.policies import PlaneView, Policy
from dataplane.policies.base import C, RequestView, Why
from dataplane.policies.conformance import SampleRequest
from dataplane.preparing import prepare


class _First(Policy):
    name = "first"

    def __init__(self) -> None:
        super().__init__(PlaneView(0, random.Random(0)))
        self.asked = 0

    def pick(self, candidates: Sequence[C], request: RequestView, why: Why | None = None) -> C:
        return candidates[0]


class Preparing(_First):
    """Takes a turn of the loop."""

    answer: Any = "prepared"

    def prepare(self, request: RequestView) -> Future[Any]:
        self.asked += 1
        future: Future[Any] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(
            future.set_exception if isinstance(self.answer, Exception) else future.set_result, self.answer
        )
        return future


class Other(Preparing):
    answer = "another"


class Failing(Preparing):
    answer = ValueError("no")


def view(policy: Policy, **pools: Policy) -> FleetView:
    halves = {pool: view(one) for pool, one in pools.items()}
    return cast(FleetView, SimpleNamespace(policy_of=lambda model: policy, pools=halves))


def results(of: FleetView, *, disaggregated: bool) -> Any:
    async def run() -> Any:
        begun = prepare(of, SampleRequest(), disaggregated=disaggregated)
        if begun is None:
            return None
        await asyncio.wait((begun.done,))
        return begun.results()

    return asyncio.run(run())


def test_most_policies_prepare_nothing() -> None:
    assert results(view(_First()), disaggregated=False) is None
    assert results(view(Preparing(), prefill=_First(), decode=_First()), disaggregated=True) is None


def test_a_whole_request_is_prepared_for_its_policy_alone() -> None:
    half = Other()
    assert results(view(Preparing(), prefill=half, decode=half), disaggregated=False) == {Preparing: "prepared"}
    assert half.asked == 0


def test_two_policies_of_one_kind_share_what_is_prepared() -> None:
    prefill, decode = Preparing(), Preparing()
    assert results(view(_First(), prefill=prefill, decode=decode), disaggregated=True) == {Preparing: "prepared"}
    assert prefill.asked + decode.asked == 1


def test_two_kinds_get_each_their_own() -> None:
    found = results(view(_First(), prefill=Preparing(), decode=Other()), disaggregated=True)
    assert found == {Preparing: "prepared", Other: "another"}


def test_a_failure_is_the_requests() -> None:
    with pytest.raises(ValueError, match="no"):
        results(view(_First(), prefill=Failing(), decode=_First()), disaggregated=True)
