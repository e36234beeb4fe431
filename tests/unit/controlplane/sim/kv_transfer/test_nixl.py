"""NIXL, pull and push."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controlplane.sim import SimConfig

from ..client import CHAT, ask, run, simulator, until
from .legs import DECODE, PREFILL, dies, leg, said, state, told

PULL = SimConfig(port=0, time_scale=0, count=2, kv_connector="nixl")
PUSH = SimConfig(port=0, time_scale=0, count=2, kv_connector="nixl_push")


def pushed(handoff: Any) -> Any:
    """What vLLM's proxy makes of the prefill's answer for a decode worker that is pushed to."""
    keys = ("remote_engine_id", "remote_request_id", "remote_host", "remote_port", "tp_size")
    return {**DECODE, **{key: handoff[key] for key in keys}}


def test_a_handoff_serves_once_and_then_is_somebody_elses() -> None:
    async def main() -> None:
        async with simulator(PULL) as (prefill, decode):
            alone = await said(decode, None)
            handoff = await told(prefill, PREFILL)
            assert handoff["transfer_mode"] == "pull"
            assert handoff["remote_request_id"].startswith("cmpl-r-0-")
            assert await said(decode, handoff) == alone
            again = await leg(decode, handoff)
            assert again.status == 200
            assert again.json["choices"][0]["text"] != alone
            assert (await state(prefill))["handoffs"] == {"kept": 0, "taken": 1, "expired": 0}

    run(main())


def test_the_handoff_of_another_prompt_says_what_that_prompt_does() -> None:
    async def main() -> None:
        async with simulator(PULL) as (prefill, decode):
            other = await said(prefill, None, prompt="Something else.")
            handoff = await told(prefill, PREFILL, prompt="Something else.")
            assert await said(decode, handoff) == other

    run(main())


def test_a_late_decode_gets_a_wrong_text_with_status_200() -> None:
    async def main() -> None:
        async with simulator(PULL, kv_lease_seconds=0.0) as (prefill, decode):
            handoff = await told(prefill, PREFILL)
            assert await said(decode, handoff) != await said(decode, None)
            assert (await state(prefill))["handoffs"]["expired"] == 1

    run(main())


@pytest.mark.parametrize("stream", [True, False])
def test_another_engine_id_is_an_error_at_once(stream: bool) -> None:
    async def main() -> None:
        async with simulator(PULL) as (prefill, decode):
            handoff = {**(await told(prefill, PREFILL)), "remote_engine_id": "another"}
            answer = await leg(decode, handoff, stream=stream)
            assert answer.status == (200 if stream else 500)
            assert b'"code":500' in answer.body
            assert b"choices" not in answer.body

    run(main())


@pytest.mark.parametrize("other", [{"version": "0.31.0"}, {"models": ("another",)}, {"kv_connector": "nixl_push"}])
def test_two_that_do_not_go_together_do_not_shake_hands(other: dict[str, Any]) -> None:
    async def main() -> None:
        async with simulator(PULL) as (prefill, _), simulator(PULL, **other) as (decode, _):
            handoff = await told(prefill, PREFILL)
            assert (await leg(decode, handoff, model=None)).status == 500

    run(main())


@pytest.mark.parametrize("config", [PULL, PUSH])
@pytest.mark.parametrize("key", ["remote_engine_id", "remote_request_id", "remote_host", "remote_port"])
def test_an_order_with_a_key_missing_ends_the_engine(config: SimConfig, key: str) -> None:
    async def main() -> None:
        async with simulator(config) as (prefill, decode):
            handoff = await told(prefill, PREFILL)
            del handoff[key]
            assert await dies(leg(decode, handoff))
            with pytest.raises(ConnectionError):
                await ask(decode, "GET", "/health")

    run(main())


def test_an_answer_that_ended_by_itself_or_was_streamed_hands_nothing_over() -> None:
    async def main() -> None:
        async with simulator(PULL) as (prefill, _):
            first = (await said(prefill, None))[:4]
            assert await told(prefill, PREFILL, stop=first) is None
            streamed = await leg(prefill, PREFILL, max_tokens=1, stream=True)
            assert b"kv_transfer_params" not in streamed.body
            assert (await state(prefill))["handoffs"]["kept"] == 1, "the blocks stay until the lease ends"

    run(main())


def test_what_came_from_elsewhere_is_not_computed_and_is_counted() -> None:
    async def main() -> None:
        async with simulator(PULL) as (prefill, decode):
            handoff = await told(prefill, PREFILL)
            await said(decode, handoff)
            tokens = handoff["remote_num_tokens"]
            assert (await state(decode))["engine"]["external_prefix_cache_hits"] == tokens - 1
            page = (await ask(decode, "GET", "/metrics")).body.decode()
            line = next(line for line in page.splitlines() if 'source="external_kv_transfer"' in line)
            assert line.endswith(f" {tokens - 1}.0")

    run(main())


def test_the_transfer_takes_its_time() -> None:
    async def main() -> None:
        config = SimConfig(port=0, count=2, kv_connector="nixl", decode_ms=0, kv_transfer_tokens_per_second=0.001)
        async with simulator(config, prefill_tokens_per_second=1e9) as (prefill, decode):
            handoff = await told(prefill, PREFILL)
            asked = asyncio.ensure_future(leg(decode, handoff))

            async def is_taken() -> bool:
                return bool((await state(prefill))["handoffs"]["taken"])

            await until(is_taken)
            assert not asked.done()
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

    run(main())


def test_push_goes_by_the_name_that_both_engines_know() -> None:
    async def main() -> None:
        async with simulator(PUSH) as (prefill, decode):
            alone = await said(decode, None)
            handoff = await told(prefill, PREFILL, "one")
            assert handoff["transfer_mode"] == "push"
            assert await said(decode, pushed(handoff), "one") == alone
            chat = {**CHAT, "kv_transfer_params": PREFILL, "max_tokens": 1}
            given = (await ask(prefill, "POST", "/v1/chat/completions", chat, {"x-request-id": "two"})).json
            order = {**CHAT, "kv_transfer_params": pushed(given["kv_transfer_params"])}
            answer = await ask(decode, "POST", "/v1/chat/completions", order, {"x-request-id": "two"})
            assert answer.json["choices"][0]["message"]["content"]
            assert (await state(prefill))["handoffs"]["taken"] == 2

    run(main())


def test_push_waits_for_a_name_that_nobody_has() -> None:
    async def main() -> None:
        async with simulator(PUSH, kv_wait_seconds=0.05) as (prefill, decode):
            handoff = await told(prefill, PREFILL, "one")
            assert (await leg(decode, pushed(handoff), "another")).status == 500
            assert (await state(prefill))["handoffs"]["kept"] == 1

    run(main())
