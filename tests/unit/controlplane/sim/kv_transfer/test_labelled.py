"""MoRIIO and P2pNccl, whose workers find each other by the request's name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controlplane.sim import ConfigError, SimConfig
from controlplane.sim.config import check

from ..client import run, simulator
from .legs import DECODE, PREFILL, dies, leg, said, state, told, waits

UID = "0123456789abcdef" * 2
PLAIN = SimConfig(port=0, time_scale=0)


async def address(url: str) -> str:
    return str((await state(url))["zmq_address"])


async def label(prefill: str, decode: str) -> str:
    return f"___prefill_addr_{await address(prefill)}___decode_addr_{await address(decode)}_{UID}"


@pytest.mark.parametrize("connector", ["nccl", "moriio"])
def test_a_worker_has_one_role(connector: str) -> None:
    with pytest.raises(ConfigError, match="--kv-role kv_producer"):
        check(SimConfig(kv_connector=connector))


def fleet(connector: str, mode: str = "write") -> Any:
    config = SimConfig(port=0, time_scale=0, kv_connector=connector, kv_mode=mode)
    return simulator(config, kv_role="kv_producer"), simulator(config, kv_role="kv_consumer")


def test_nccl_sends_to_whom_the_name_tells_once_the_prompt_is_computed() -> None:
    async def main() -> None:
        producer, consumer = fleet("nccl")
        async with simulator(PLAIN) as (plain,), producer as (prefill,), consumer as (decode,):
            alone, name = await said(plain, None), await label(prefill, decode)
            asked = asyncio.ensure_future(said(decode, None, name))
            assert await waits(asked)
            assert await told(prefill, None, name) is None
            assert await asked == alone

    run(main())


@pytest.mark.parametrize("role", [0, 1])
def test_nccl_ends_by_a_name_without_addresses(role: int) -> None:
    async def main() -> None:
        async with fleet("nccl")[role] as (worker,):
            assert await dies(leg(worker, None, "plain"))

    run(main())


def test_nccl_waits_without_end_for_what_goes_elsewhere() -> None:
    async def main() -> None:
        producer, consumer = fleet("nccl")
        async with producer as (prefill,), consumer as (decode,):
            name = f"___prefill_addr_{await address(prefill)}___decode_addr_127.0.0.1:1_{UID}"
            await told(prefill, None, name)
            asked = asyncio.ensure_future(said(decode, None, name))
            assert await waits(asked)
            asked.cancel()

    run(main())


def test_moriio_reads_what_the_prefill_tells_and_once() -> None:
    async def main() -> None:
        producer, consumer = fleet("moriio", "read")
        async with simulator(PLAIN) as (plain,), producer as (prefill,), consumer as (decode,):
            alone, name = await said(plain, None), await label(prefill, decode)
            handoff = await told(prefill, {**PREFILL, "transfer_id": "tx-1"}, name)
            assert (handoff["transfer_id"], handoff["remote_dp_size"]) == ("tx-1", 1)
            assert await said(decode, handoff, name) == alone
            assert await said(decode, handoff, name) != alone
            assert await said(decode, {**DECODE, "transfer_id": "tx-1"}, name) != alone, "nothing says what to read"
            assert await said(decode, None, name) != alone, "nor does it compute the prompt then"

    run(main())


def test_moriio_reads_also_where_only_the_order_tells_the_address() -> None:
    async def main() -> None:
        producer, consumer = fleet("moriio", "read")
        async with simulator(PLAIN) as (plain,), producer as (prefill,), consumer as (decode,):
            name = await label(prefill, decode)
            handoff = await told(prefill, {**PREFILL, "transfer_id": "tx-1"}, name)
            assert await said(decode, handoff, "no label") == await said(plain, None)

    run(main())


def test_moriio_writes_whichever_leg_comes_first() -> None:
    async def main() -> None:
        producer, consumer = fleet("moriio")
        async with simulator(PLAIN) as (plain,), producer as (prefill,), consumer as (decode,):
            alone, name = await said(plain, None), await label(prefill, decode)
            asked = asyncio.ensure_future(said(decode, {**DECODE, "transfer_id": "tx-1"}, name))
            assert await waits(asked)
            await told(prefill, {**PREFILL, "transfer_id": "tx-1"}, name)
            assert await asked == alone
            plain_one = asyncio.ensure_future(said(decode, None, name))
            assert await waits(plain_one), "a decode worker waits for every request's KV cache"
            plain_one.cancel()

    run(main())


@pytest.mark.parametrize(
    ("order", "name"),
    [({**PREFILL, "transfer_id": "tx-1"}, "no label"), (PREFILL, None)],
    ids=["no address", "no transfer id"],
)
def test_moriio_ends_by_an_order_that_is_not_complete(order: Any, name: str | None) -> None:
    async def main() -> None:
        producer, consumer = fleet("moriio")
        async with producer as (prefill,), consumer as (decode,):
            name_ = name or await label(prefill, decode)
            assert await dies(leg(prefill, order, name_))

    run(main())
