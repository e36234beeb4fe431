"""Mooncake: engine ids from the bootstrap server, and a transfer id that both legs have."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controlplane.sim import SimConfig

from ..client import ask, run, simulator
from .legs import DECODE, PREFILL, dies, leg, said, state, told, waits

CONFIG = SimConfig(port=0, time_scale=0, count=2, kv_connector="mooncake", bootstrap_port=0)
PREFILL_ORDER = {**PREFILL, "transfer_id": "xfer-1"}


async def bootstrap(url: str) -> str:
    return f"http://127.0.0.1:{(await state(url))['bootstrap_port']}"


async def decode_order(prefill: str, **more: Any) -> Any:
    address = await bootstrap(prefill)
    engines = (await ask(address, "GET", "/query")).json
    return {
        **DECODE,
        "transfer_id": "xfer-1",
        "remote_bootstrap_addr": address,
        "remote_engine_id": engines["0"]["engine_id"],
        **more,
    }


def test_the_bootstrap_server_tells_the_engine_of_each_rank_and_nothing_else() -> None:
    async def main() -> None:
        async with simulator(CONFIG, data_parallel_size=2) as (prefill, _):
            address = await bootstrap(prefill)
            engines = (await ask(address, "GET", "/query")).json
            assert list(engines) == ["0", "1"]
            assert engines["0"]["engine_id"] != engines["1"]["engine_id"]
            assert engines["0"]["worker_addr"]["0"]["0"].startswith("tcp://127.0.0.1:")
            assert (await ask(address, "GET", "/health")).status == 404
            assert (await ask(prefill, "GET", "/query")).status == 404

    run(main())


@pytest.mark.parametrize("first", ["prefill", "decode"])
def test_either_leg_may_come_first(first: str) -> None:
    async def main() -> None:
        async with simulator(CONFIG) as (prefill, decode):
            alone = await said(decode, None)
            order = await decode_order(prefill)
            if first == "prefill":
                assert await told(prefill, PREFILL_ORDER) is None
                assert await said(decode, order) == alone
            else:
                asked = asyncio.ensure_future(said(decode, order))
                assert await waits(asked)
                assert await told(prefill, PREFILL_ORDER) is None
                assert await asked == alone
            assert (await state(prefill))["handoffs"] == {"kept": 0, "taken": 1, "expired": 0}

    run(main())


def test_a_transfer_id_that_nobody_has_is_waited_for_and_so_is_a_used_one() -> None:
    async def main() -> None:
        async with simulator(CONFIG, kv_wait_seconds=0.05) as (prefill, decode):
            await told(prefill, PREFILL_ORDER)
            order = await decode_order(prefill)
            assert (await leg(decode, {**order, "transfer_id": "another"})).status == 500
            assert (await leg(decode, order)).status == 200
            assert (await leg(decode, order)).status == 500

    run(main())


def test_another_engine_id_is_an_error_at_once() -> None:
    async def main() -> None:
        async with simulator(CONFIG) as (prefill, decode):
            await told(prefill, PREFILL_ORDER)
            assert (await leg(decode, await decode_order(prefill, remote_engine_id="another"))).status == 500

    run(main())


def test_each_life_has_another_engine_id() -> None:
    async def main() -> None:
        async with simulator(CONFIG) as (prefill, decode):
            await told(prefill, PREFILL_ORDER)
            before = await decode_order(prefill)
            await ask(prefill, "POST", "/sim/faults", {"name": "die", "worker": True})
            await ask(decode, "DELETE", "/sim/workers/0/faults")
            after = await decode_order(prefill)
            assert after["remote_engine_id"] != before["remote_engine_id"]
            assert (await leg(decode, before)).status == 500
            assert (await state(prefill))["handoffs"]["kept"] == 0

    run(main())


@pytest.mark.parametrize("key", ["transfer_id", "remote_bootstrap_addr", "remote_engine_id"])
def test_an_order_with_a_key_missing_ends_the_engine(key: str) -> None:
    async def main() -> None:
        async with simulator(CONFIG) as (prefill, decode):
            order = await decode_order(prefill)
            del order[key]
            assert await dies(leg(decode, order))

    run(main())


def test_a_worker_of_one_role_ends_when_it_is_given_the_other() -> None:
    async def main() -> None:
        async with simulator(CONFIG) as (prefill, _):
            order = await decode_order(prefill)
            async with simulator(CONFIG, kv_role="kv_producer") as (producer, _):
                assert await dies(leg(producer, order))
            async with simulator(CONFIG, kv_role="kv_consumer") as (consumer, _):
                assert await dies(leg(consumer, PREFILL_ORDER))

    run(main())


def test_a_prefill_that_stops_by_itself_hands_nothing_over() -> None:
    async def main() -> None:
        async with simulator(CONFIG, kv_wait_seconds=0.05) as (prefill, decode):
            first = (await said(prefill, None))[:4]
            await told(prefill, PREFILL_ORDER, stop=first)
            assert (await leg(decode, await decode_order(prefill))).status == 500

    run(main())


def test_without_a_bootstrap_server_it_is_an_error_after_a_while() -> None:
    async def main() -> None:
        async with simulator(CONFIG, kv_wait_seconds=0.05) as (prefill, decode):
            order = await decode_order(prefill, remote_bootstrap_addr="http://127.0.0.1:1")
            assert (await leg(decode, order)).status == 500

    run(main())
