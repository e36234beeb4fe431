"""The engine before simulated workers, in one process, with each connector that the two share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from shared.table import Role, Worker
from shared.transfer import Transfer
from tests.unit.controlplane.sim.client import ask, simulator, state
from tests.unit.dataplane.fake_granian import FakeTransaction
from tests.unit.dataplane.forward_bench import Bench, Run

pytestmark = pytest.mark.parametrize("run", ["uvloop"], indirect=True)
"""What planes run on; the engine's own tests run on both."""
CONNECTORS = ("nixl", "nixl_push", "mooncake", "moriio read", "moriio write", "nccl", "example", "lmcache")
EVERYDAY = ("nixl", "mooncake", "nccl")
"""One of each order; the others' failures are in the full run."""
SHARED = ("example", "lmcache")
"""There is no link between two workers with these."""
WAIT = 0.5
"""Seconds in which a decode worker gives up by itself, where the real one takes its time."""
TICK = 0.05
"""Seconds between two looks at what stands still."""
PROMPTS = [f"Tell me number {number} of the things that there are. " * 3 for number in range(6)]
TWENTY = [f"Tell me number {number} of the things that there are. " * 3 for number in range(20)]


def failing(connectors: Iterable[str]) -> list[Any]:
    return [one if one in EVERYDAY else pytest.param(one, marks=pytest.mark.slow) for one in connectors]


class Two(NamedTuple):
    """Two prefill and two decode workers, and what one says alone to each prompt."""

    prefill: list[str]
    decode: list[str]
    alone: dict[str, str]


def _asked(prompt: str, *, streamed: bool = False) -> dict[str, Any]:
    return {"model": "sim-model", "prompt": prompt, "max_tokens": 4, "temperature": 0, "stream": streamed}


async def asked(bench: Bench, body: dict[str, Any]) -> FakeTransaction:
    return await bench.answer(json.dumps(body).encode(), headers=[(b"content-type", b"application/json")])


async def said(bench: Bench, prompt: str, *, streamed: bool) -> str:
    got = await asked(bench, _asked(prompt, streamed=streamed))
    assert (got.status, got.whole) == (200, True), got.body
    if not streamed:
        return str(json.loads(got.body)["choices"][0]["text"])
    *events, last = [line.removeprefix("data: ") for line in got.body.decode().split("\n\n") if line]
    assert last == "[DONE]"
    return "".join(choice["text"] for event in events for choice in json.loads(event)["choices"])


async def all_is_served(bench: Bench, two: Two) -> None:
    """Requests, streamed and not, each with the text that one worker gives."""
    for streamed in (True, False):
        for prompt, alone in two.alone.items():
            assert await said(bench, prompt, streamed=streamed) == alone


async def fault(url: str, fault: dict[str, Any]) -> None:
    assert (await ask(url, "POST", "/sim/faults", fault)).status < 300


@asynccontextmanager
async def serving(bench: Bench, name: str, prompts: Sequence[str] = PROMPTS) -> AsyncIterator[Two]:
    connector, _, mode = name.partition(" ")
    async with AsyncExitStack() as stack:
        started = stack.enter_async_context
        (single,) = await started(simulator())
        answers = await asyncio.gather(*(ask(single, "POST", "/v1/completions", _asked(one)) for one in prompts))
        alone = {prompt: answer.json["choices"][0]["text"] for prompt, answer in zip(prompts, answers, strict=True)}
        kv: dict[str, Any] = {"kv_connector": connector, "kv_wait_seconds": WAIT, "bootstrap_port": 0}
        if mode:
            kv["kv_mode"] = mode
        if connector in ("nccl", "moriio"):
            prefill = await started(simulator(count=2, kv_role="kv_producer", **kv))
            decode = await started(simulator(count=2, kv_role="kv_consumer", **kv))
        else:
            workers = await started(simulator(count=4, **kv))
            prefill, decode = workers[:2], workers[2:]
        bench.configure(policy="random", kv_connector=connector, decode_first_byte_timeout=10 * TICK)
        roles: dict[str, Role] = {**dict.fromkeys(prefill, "prefill"), **dict.fromkeys(decode, "decode")}
        bench.serve_workers(
            *[
                Worker(
                    id=url,
                    url=url,
                    role=role,
                    state="ready",
                    models=("sim-model",),
                    transfer=await transfer_of(url, mode),
                )
                for url, role in roles.items()
            ]
        )
        ticking = asyncio.ensure_future(_tick(bench))
        try:
            yield Two(prefill, decode, alone)
        finally:
            ticking.cancel()


async def transfer_of(url: str, mode: str) -> Transfer:
    """What a registration or a bootstrap server tells."""
    told = await state(url)
    return Transfer(
        address=told["zmq_address"],
        mode="read" if mode == "read" else "write" if mode == "write" else None,
        bootstrap_port=told["bootstrap_port"] or None,
        engine_ids={str(rank): engine for rank, engine in enumerate(told["engine_ids"])},
    )


async def _tick(bench: Bench) -> None:
    while True:
        await asyncio.sleep(TICK)
        bench.forwarder.expire()


@pytest.mark.parametrize("connector", CONNECTORS)
def test_g_pd_1_two_workers_say_what_one_says(run: Run, connector: str) -> None:
    async def test(bench: Bench) -> None:
        async with serving(bench, connector) as two:
            await all_is_served(bench, two)
            assert bench.accounting.disaggregated == {"two-workers": 2 * len(PROMPTS)}
            assert bench.accounting.retries.total() == 0

    run(test)


@pytest.mark.parametrize("connector", failing(CONNECTORS))
def test_g_pd_2_all_are_served_while_a_prefill_worker_answers_503(run: Run, connector: str) -> None:
    async def test(bench: Bench) -> None:
        async with serving(bench, connector) as two:
            await fault(two.prefill[0], {"name": "status", "status": 503})
            await all_is_served(bench, two)

    run(test)


@pytest.mark.parametrize("connector", failing(CONNECTORS))
@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_g_pd_2_all_are_served_while_a_worker_is_dead(run: Run, connector: str, role: str) -> None:
    async def test(bench: Bench) -> None:
        async with serving(bench, connector) as two:
            await said(bench, PROMPTS[0], streamed=False)
            await fault(getattr(two, role)[0], {"name": "die", "worker": True})
            await all_is_served(bench, two)

    run(test)


@pytest.mark.parametrize("connector", failing(one for one in CONNECTORS if one not in SHARED))
def test_g_pd_2_a_cut_link_takes_out_the_pair_and_neither_worker(run: Run, connector: str) -> None:
    async def test(bench: Bench) -> None:
        async with serving(bench, connector) as two:
            await fault(two.decode[0], {"name": "cut", "peer": urlsplit(two.prefill[0]).netloc})
            for number in range(100):
                if bench.accounting.pair_breakers["opened"]:
                    break
                prompt = PROMPTS[number % len(PROMPTS)]
                assert await said(bench, prompt, streamed=True) == two.alone[prompt]
            assert bench.accounting.pair_breakers["opened"] >= 1
            await all_is_served(bench, two)
            assert bench.fleet.breakers.out() == {}
            pairs = bench.fleet.pairs
            slots = {slot.id: slot for slot in bench._slots}
            out = [
                (one, other)
                for one in two.prefill
                for other in two.decode
                if not pairs.can(slots[one], slots[other], bench.forwarder.loop.time())
            ]
            assert (two.prefill[0], two.decode[0]) in out

    run(test)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["prefill answers 503", "prefill killed", "decode killed", "link cut"])
@pytest.mark.parametrize("connector", CONNECTORS)
def test_g_pd_2_forty_of_forty(run: Run, connector: str, case: str) -> None:
    if case == "link cut" and connector in SHARED:
        pytest.skip("no link between two workers")

    async def test(bench: Bench) -> None:
        async with serving(bench, connector, TWENTY) as two:
            prefill, decode = two.prefill[0], two.decode[0]
            if case == "prefill answers 503":
                await fault(prefill, {"name": "status", "status": 503})
            elif case == "link cut":
                await fault(decode, {"name": "cut", "peer": urlsplit(prefill).netloc})
            else:
                await fault(decode if case == "decode killed" else prefill, {"name": "die", "worker": True})
            assert len(two.alone) == 20
            await all_is_served(bench, two)

    run(test)


@pytest.mark.parametrize("connector", ["nixl", "nccl"])
def test_without_a_pair_that_works_one_worker_does_it_all_or_it_is_said_why(run: Run, connector: str) -> None:
    async def test(bench: Bench) -> None:
        async with serving(bench, connector) as two:
            for decode in two.decode:
                await fault(decode, {"name": "die", "worker": True})
            if connector == "nixl":
                await all_is_served(bench, two)
                return
            got = await asked(bench, _asked("x"))
            assert got.status == 503
            # Nobody was asked for what ends its engine.
            for prefill in two.prefill:
                assert (await ask(prefill, "GET", "/health")).status == 200

    run(test)
