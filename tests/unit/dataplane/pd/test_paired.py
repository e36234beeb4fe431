"""Connectors that want both workers chosen before, or asked at once: what each leg gets, and what a failure ends.

In each test the ids of the decode legs are all different, and each has had a prefill.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from dataplane import exchange
from dataplane.pd import connectors
from dataplane.pd.connector import Ask, Connector, Order, Pairing, Peer, first_member, one_token
from shared.table import Worker
from shared.transfer import Transfer
from tests.unit.dataplane.forward_bench import (
    Bench,
    Run,
    begin_and_hang,
    close_at_once,
    error_of,
    hang,
    stream,
    well,
    workers,
)
from tests.unit.dataplane.listening import refusing_port, until
from tests.unit.dataplane.pd.two import BODY, Pair, answers, first, pair
from tests.unit.dataplane.scripted_worker import Asked, Script, ScriptedWorker

LABEL = re.compile(r"___prefill_addr_(.+:\d+)___decode_addr_(.+:\d+)_([0-9a-f]{32})").fullmatch
ADDRESSES = {f"{role}{number}": f"10.0.0.{number}:2100{number}" for role in "pd" for number in range(4)}
TRANSFERS = {worker: Transfer(connector="nccl", address=address) for worker, address in ADDRESSES.items()}


class Together(Connector):
    """One that asks both at once, as Mooncake's does."""

    name = "together"

    def order(self, prefill: Peer) -> Order:
        return Order.TOGETHER

    def prefill(self, pairing: Pairing) -> Ask:
        assert pairing.decode is not None
        return Ask(one_token(pairing.path, pairing.body), ((b"x-request-id", pairing.key.encode()),))

    def handoff(self, answer: bytes) -> bytes | None:
        return None if answer == b"stopped" else b""

    def decode(self, pairing: Pairing, handoff: bytes) -> Ask:
        assert pairing.decode is not None
        assert handoff == b""
        order = json.dumps({"transfer_id": pairing.key}).encode()
        return Ask(first_member(pairing.body, "kv_transfer_params", order), ((b"x-request-id", pairing.key.encode()),))


def ids(asked: list[ScriptedWorker]) -> list[bytes | None]:
    return [one.field(b"x-request-id") for worker in asked for one in worker.asked]


@asynccontextmanager
async def two_of(bench: Bench, name: str, prefill: list[Script], decode: list[Script]) -> AsyncIterator[Pair]:
    bench.configure(kv_connector=name, pd_fallback=False, retry_initial_backoff=0.001)
    async with pair(prefill, decode) as two:
        two.serve(bench, TRANSFERS if name == "nccl" else None)
        yield two
        used = ids(two.decode)
        assert len(used) == len(set(used))
        assert set(used) <= set(ids(two.prefill))
        await until(lambda: not bench.inflight())


@pytest.fixture(autouse=True)
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connectors._CONNECTORS, "together", Together)


# --- both chosen before ----------------------------------------------------------------------------------


def test_both_legs_have_one_id_that_names_both_and_the_client_keeps_its_own(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with two_of(bench, "nccl", [well], [stream]) as two:
            for _ in range(2):
                transaction = await bench.answer(BODY, headers=[(b"authorization", b"Bearer mine")])
                assert transaction.body.startswith(b"data: 0")
                assert dict(transaction.headers)[b"x-request-id"] == b"mine"
            assert ids(two.prefill) == ids(two.decode)
            label = LABEL((ids(two.decode)[0] or b"").decode())
            assert label is not None
            assert label.group(1, 2) == (ADDRESSES["p0"], ADDRESSES["d0"])
            (prefill, _), (decode, _) = two.prefill[0].asked, two.decode[0].asked
            assert json.loads(prefill.body) == {**json.loads(BODY), "stream": False, "max_tokens": 1}
            assert decode.body == BODY
            assert {one.field(b"authorization") for one in (prefill, decode)} == {b"Bearer mine"}
            assert bench.accounting.disaggregated == {"two-workers": 2}

    run(test)


def test_the_decode_worker_is_held_from_the_beginning_and_asked_when_the_prefill_is_there(run: Run) -> None:
    async def test(bench: Bench) -> None:
        go = asyncio.Event()

        async def waits(asked: Asked) -> None:
            await go.wait()
            await well(asked)

        async with two_of(bench, "nccl", [waits], [begin_and_hang]) as two:
            transaction = bench.ask(BODY)
            await until(lambda: bool(two.prefill[0].asked))
            assert {slot.id: slot.inflight for slot in bench._slots} == {"p0": 1, "d0": 1}
            assert two.decode[0].connections == 0
            go.set()
            await until(lambda: bool(transaction.body))
            assert {slot.id: slot.inflight for slot in bench._slots} == {"p0": 0, "d0": 1}
            transaction.leave()
            await until(lambda: not two.decode[0].open)

    run(test)


@pytest.mark.parametrize("script", [answers(503), close_at_once])
def test_another_prefill_worker_gets_another_id(run: Run, script: Script) -> None:
    async def test(bench: Bench) -> None:
        async with two_of(bench, "nccl", [script, well], [well, well]) as two:
            assert (await bench.answer(BODY)).body == b"well"
            assert len(set(ids(two.prefill))) == 2
            assert len(ids(two.decode)) == 1

    run(test)


def test_a_prefill_worker_that_can_not_be_reached_leaves_its_decode_worker_free(run: Run) -> None:
    async def test(bench: Bench) -> None:
        bench.configure(kv_connector="nccl", pd_fallback=False)
        async with pair([well], [well]) as two:
            with refusing_port() as port:
                urls = [f"http://127.0.0.1:{port}", two.prefill[0].url]
                two.serve_urls(bench, urls, [two.decode[0].url], TRANSFERS)
                assert (await bench.answer(BODY)).body == b"well"
                assert len(two.decode[0].asked) == 1
                assert bench.inflight() == 0

    run(test)


@pytest.mark.parametrize(
    ("prefill", "decode"), [([close_at_once, well], [well, well]), ([well], [close_at_once, well])]
)
@pytest.mark.parametrize("name", ["nccl", "together"])
def test_g_pd_2_whoever_dies_with_a_request_it_has_had_for_long_is_replaced(
    run: Run, monkeypatch: pytest.MonkeyPatch, prefill: list[Script], decode: list[Script], name: str
) -> None:
    monkeypatch.setattr(exchange, "AT_ONCE", -1.0)

    async def test(bench: Bench) -> None:
        async with two_of(bench, name, prefill, decode):
            assert (await bench.answer(BODY)).body == b"well"

    run(test)


@pytest.mark.parametrize("script", [answers(500), answers(503), close_at_once])
def test_a_decode_that_fails_is_begun_again_with_another_prefill(run: Run, script: Script) -> None:
    async def test(bench: Bench) -> None:
        async with two_of(bench, "nccl", [well], [script, well]) as two:
            assert (await bench.answer(BODY)).body == b"well"
            assert len(two.prefill[0].asked) == 2

    run(test)


@pytest.mark.parametrize("body", [b'{"model":"m","prompt":["x","y"]}', b'{"model":"m","prompt":"x","n":2}'])
def test_several_prompts_or_answers_go_over_together(run: Run, body: bytes) -> None:
    async def test(bench: Bench) -> None:
        async with two_of(bench, "nccl", [well], [well]) as two:
            assert (await bench.answer(body)).body == b"well"
            assert [asked.body for asked in two.decode[0].asked] == [body]

    run(test)


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/embeddings", b'{"model":"m","input":"x"}'), ("/v1/completions", b'{"prompt":"x","echo":true}')],
)
def test_only_a_regular_worker_is_asked_for_a_whole_request(run: Run, path: str, body: bytes) -> None:
    async def test(bench: Bench) -> None:
        async with two_of(bench, "nccl", [well], [well]) as two, workers(well) as (regular,):
            refused = await bench.answer(body, path=path)
            assert (refused.status, error_of(refused)["code"]) == (503, "no_worker_available")
            assert "--kv-connector nccl" in error_of(refused)["message"]
            bench.configure(kv_connector="nccl", pd_fallback=True)
            assert (await bench.answer(body, path=path)).status == 503
            bench.serve_workers(*bench._workers, Worker(id="r", url=regular.url, state="ready", models=("m",)))
            assert (await bench.answer(body, path=path)).body == b"well"
            assert (len(two.prefill[0].asked), len(two.decode[0].asked), len(regular.asked)) == (0, 0, 1)

    run(test)


@pytest.mark.parametrize(
    ("transfers", "words"),
    [
        ({}, "p0 has not told its address for KV transfers"),
        ({"p0": TRANSFERS["p0"], "d0": Transfer(address="a:1\r\nx: y")}, "d0 has not told its address"),
        ({"p0": Transfer(address="a:1", tp_size=2), "d0": Transfer(address="b:1", tp_size=1)}, "p0 has 2 tensor"),
    ],
)
def test_two_that_can_not_reach_each_other_are_no_pair(run: Run, transfers: dict[str, Transfer], words: str) -> None:
    async def test(bench: Bench) -> None:
        async with pair([well], [well]) as two:
            bench.configure(kv_connector="nccl")
            two.serve(bench, transfers)
            refused = await bench.answer(BODY)
            assert (refused.status, error_of(refused)["code"]) == (503, "no_worker_available")
            assert words in error_of(refused)["message"]
            assert not two.prefill[0].asked

    run(test)


# --- both asked at once ----------------------------------------------------------------------------------


@dataclass
class Meeting:
    """A prefill worker that answers when the decode worker was asked, and the other way round."""

    at: dict[str, asyncio.Event] = field(default_factory=lambda: {"p": asyncio.Event(), "d": asyncio.Event()})

    def side(self, own: str, other: str, then: Script) -> Script:
        async def script(asked: Asked) -> None:
            self.at[own].set()
            await self.at[other].wait()
            await then(asked)

        return script


def test_neither_leg_waits_for_the_other(run: Run) -> None:
    async def test(bench: Bench) -> None:
        meet = Meeting()
        async with two_of(bench, "together", [meet.side("p", "d", well)], [meet.side("d", "p", stream)]) as two:
            assert (await bench.answer(BODY)).whole
            assert ids(two.prefill) == ids(two.decode)
            assert bench.accounting.disaggregated == {"two-workers": 1}

    run(test)


@pytest.mark.parametrize(
    ("prefill", "decode", "open_at"),
    [(answers(503), hang, "decode"), (close_at_once, hang, "decode"), (hang, answers(500), "prefill")],
)
def test_a_leg_that_fails_ends_the_other_one_and_a_new_pair_is_asked(
    run: Run, prefill: Script, decode: Script, open_at: str
) -> None:
    async def test(bench: Bench) -> None:
        meet = Meeting()
        ours = [first(meet.side("p", "d", prefill), well)] * 2
        theirs = [first(meet.side("d", "p", decode), well)] * 2
        async with two_of(bench, "together", ours, theirs) as two:
            assert (await bench.answer(BODY)).body == b"well"
            await until(lambda: all(worker.open <= 1 for worker in getattr(two, open_at)))
            assert len(set(ids(two.prefill))) == len(set(ids(two.decode))) == 2

    run(test)


@pytest.mark.parametrize("prefill", [hang, well])
@pytest.mark.parametrize("decode", [hang, begin_and_hang])
def test_the_clients_leaving_closes_both_legs(run: Run, prefill: Script, decode: Script) -> None:
    async def test(bench: Bench) -> None:
        async with two_of(bench, "together", [prefill], [decode]) as two:
            transaction = bench.ask(BODY)
            await until(lambda: bool(two.prefill[0].asked and two.decode[0].asked))
            await until(lambda: transaction.listening)
            transaction.leave()
            await until(lambda: not two.decode[0].open)
            await until(lambda: prefill is well or not two.prefill[0].open)
            assert bench.accounting.aborted == {"client": 1}

    run(test)


def test_what_the_prefill_worker_refuses_is_the_answer(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with two_of(bench, "together", [answers(400, body=b"why")], [hang]) as two:
            transaction = await bench.answer(BODY)
            assert (transaction.status, transaction.body) == (400, b"why")
            await until(lambda: not two.decode[0].open)

    run(test)


@pytest.mark.parametrize("late", [answers(503), answers(400), close_at_once, answers(200, body=b"stopped")])
def test_an_answer_that_has_begun_does_not_depend_on_the_prefill_worker(run: Run, late: Script) -> None:
    async def test(bench: Bench) -> None:
        fail, go = asyncio.Event(), asyncio.Event()

        async def fails(asked: Asked) -> None:
            await fail.wait()
            await late(asked)

        async def begins(asked: Asked) -> None:
            await asked.begin()
            await asked.chunk(b"data: first\n\n")
            await go.wait()
            await asked.chunk(b"data: last\n\n")
            await asked.end()

        async with two_of(bench, "together", [fails, well], [begins]) as two:
            transaction = bench.ask(BODY)
            await until(lambda: bool(transaction.body))
            fail.set()
            await until(lambda: [slot.inflight for slot in bench._slots if slot.id == "p0"] == [0])
            go.set()
            await bench.ended(transaction)
            assert transaction.body == b"data: first\n\ndata: last\n\n"
            assert not two.prefill[1].asked
            assert bench.accounting.finished == 1

    run(test)


def test_an_answer_that_comes_before_the_prefills_end_is_an_answer(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with two_of(bench, "together", [hang], [well]) as two:
            assert (await bench.answer(BODY)).body == b"well"
            await until(lambda: not two.prefill[0].open)
            assert bench.accounting.finished == 1

    run(test)


def test_a_prefill_that_hands_nothing_over_is_begun_again(run: Run) -> None:
    async def test(bench: Bench) -> None:
        stopped = answers(200, body=b"stopped")
        meet = Meeting()
        ours, theirs = first(meet.side("p", "d", stopped), well), first(meet.side("d", "p", hang), well)
        async with two_of(bench, "together", [ours], [theirs] * 2):
            assert (await bench.answer(BODY)).body == b"well"

    run(test)


def test_a_prefill_that_never_hands_anything_over_is_not_begun_for_ever(run: Run) -> None:
    async def test(bench: Bench) -> None:
        stopped = answers(200, body=b"stopped")
        async with two_of(bench, "together", [stopped], [hang] * 4) as two:
            transaction = await bench.answer(BODY)
            assert (transaction.status, error_of(transaction)["code"]) == (502, "bad_worker_answer")
            assert len(two.prefill[0].asked) == 3
            await until(lambda: not any(worker.open for worker in two.decode))

    run(test)
