"""Short prompts that no prefill worker is asked for."""

from __future__ import annotations

import json
import random

import pytest

from dataplane.pd.bypass import uncached_tokens
from dataplane.pd.nixl import Nixl
from dataplane.policies import PlaneView
from dataplane.policies.conformance import SampleCandidate, SampleRequest
from dataplane.policies.round_robin import RoundRobin
from dataplane.receipt_writing import receipt
from tests.unit.dataplane.forward_bench import Bench, Run, close_at_once, error_of, well
from tests.unit.dataplane.pd.two import Pair, answers, first, hands_over, pair


def asks(tokens: int, mark: str = "") -> bytes:
    """Return a request with a prompt that counts for so many."""
    return json.dumps({"model": "m", "prompt": mark.ljust(4 * (tokens - 1), "x")}).encode()


def asked(two: Pair) -> tuple[int, int]:
    return sum(len(one.asked) for one in two.prefill), sum(len(one.asked) for one in two.decode)


def test_only_shorter_prompts_go_to_a_decode_worker_alone(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [well, well]) as two:
            bench.configure(pd_bypass_tokens=100)
            two.serve(bench)
            assert (await bench.answer(asks(99))).body == b"well"
            assert two.decode[0].asked[0].body == asks(99)
            assert asked(two) == (0, 1)
            record = bench.forwarder.receipts.find(b"mine")
            assert record is not None
            (attempt,) = receipt(record, plane="0", arrived=0.0).attempts
            assert (attempt.leg, attempt.worker) == ("decode", "d0")
            assert attempt.note.startswith("about 99 tokens to compute, under --pd-bypass-tokens 100: no prefill")
            assert (await bench.answer(asks(100))).body == b"well"
            assert asked(two) == (1, 2)
            assert bench.accounting.disaggregated == {"bypassed": 1, "two-workers": 1}

    run(test)


@pytest.mark.parametrize("body", [b'{"model":"m","prompt":""}', b'{"model":"m","prompt":{"no":"prompt"}}'])
def test_what_has_no_prompt_that_can_be_read_is_not_taken_for_short(run: Run, body: bytes) -> None:
    async def test(bench: Bench) -> None:
        async with pair([answers(400)], [well]) as two:
            bench.configure(pd_bypass_tokens=100)
            two.serve(bench)
            await bench.answer(body)
            assert "bypassed" not in bench.accounting.disaggregated

    run(test)


def test_it_is_off_unless_it_is_wanted(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [well]) as two:
            two.serve(bench)
            await bench.answer(asks(2))
            assert asked(two) == (1, 1)

    run(test)


def test_a_connector_whose_workers_do_no_whole_request_gets_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Nixl, "serves_whole", False)

    async def test(bench: Bench) -> None:
        async with pair([hands_over], [well]) as two:
            bench.configure(pd_bypass_tokens=100)
            two.serve(bench)
            await bench.answer(asks(2))
            assert asked(two) == (1, 1)

    run(test)


def test_what_a_decode_worker_has_cached_need_not_be_computed(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [well, well]) as two:
            bench.configure(policy="cache_aware", pd_bypass_tokens=300)
            two.serve(bench)
            for _ in range(3):
                assert (await bench.answer(asks(2000, "long"))).status == 200
            # The first one brought it there.
            assert asked(two) == (1, 3)
            assert sorted(len(one.asked) for one in two.decode) == [0, 3]
            assert (await bench.answer(asks(2000, "other"))).status == 200
            assert asked(two) == (2, 4)

    run(test)


def test_one_that_fails_goes_to_another_decode_worker_and_then_to_whoever_can(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([well], [answers(503), first(well, answers(503))]) as two:
            bench.configure(pd_bypass_tokens=100)
            two.serve(bench)
            assert (await bench.answer(asks(2))).body == b"well"
            assert asked(two) == (0, 2)
            assert (await bench.answer(asks(2))).body == b"well"
            assert (two.prefill[0].asked[0].body, bench.accounting.disaggregated["one-worker"]) == (asks(2), 1)

    run(test)


def test_without_the_fallback_its_end_is_the_clients(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([well], [close_at_once]) as two:
            bench.configure(pd_bypass_tokens=100, pd_fallback=False)
            two.serve(bench)
            transaction = await bench.answer(asks(2))
            assert (transaction.status, error_of(transaction)["code"]) == (503, "workers_unreachable")
            assert not two.prefill[0].asked

    run(test)


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b'{"prompt":"12345678"}', 3),
        (b'{"prompt":[1,2,3]}', 4),
        (b'{"messages":[{"role":"user","content":"12345678"}]}', 4),
        (b"no JSON", None),
        (b"{}", None),
    ],
)
def test_a_policy_that_knows_no_prompts_leaves_it_to_their_length(body: bytes, tokens: int | None) -> None:
    policy = RoundRobin(PlaneView(0, random.Random(1)))
    assert uncached_tokens(policy, [SampleCandidate("d")], SampleRequest("m", body=body)) == tokens
