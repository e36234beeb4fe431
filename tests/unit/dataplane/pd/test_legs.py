"""What both workers of a request get of its head, and what the client gets of the two answers."""

from __future__ import annotations

import asyncio
import gc
import json
from pathlib import Path
from typing import Any

import pytest

from dataplane.pd.answer import Answer
from dataplane.pd.connector import Order
from dataplane.pd.example import Example
from dataplane.pd.transaction import Disaggregated
from dataplane.timeouts import Phase
from shared.table import Role, Worker
from tests.unit.dataplane.forward_bench import Bench, Run, error_of
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.pd.two import BODY, Pair, answers, first, hands_over, pair
from tests.unit.dataplane.scripted_worker import Asked, Script

RANK = b"x-data-parallel-rank"
PASSES = [
    (b"authorization", b"Bearer the client's"),
    (b"x-vllm-priority", b"3"),
    (b"x-session-id", b"s"),
    (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    (b"tracestate", b"a=1"),
    (b"tracestate", b"b=2"),
    (b"baggage", b"k=v"),
    (b"openai-organization", b"o"),
    (b"x-unknown", b"\xff"),
]
STAYS = [
    (b"connection", b"keep-alive, x-mine"),
    (b"x-mine", b"1"),
    (b"keep-alive", b"9"),
    (b"te", b"trailers"),
    (b"proxy-authorization", b"Basic eA=="),
    (b"upgrade", b"websocket"),
]


def test_both_legs_get_what_the_client_sent_and_what_is_for_the_next_hop_neither(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [counts(None)]) as two:
            two.serve(bench)
            await bench.answer(BODY, headers=[*PASSES, *STAYS])
            for asked in (two.prefill[0].asked[0], two.decode[0].asked[0]):
                names = {name for name, _ in PASSES}
                assert [field for field in asked.fields if field[0] in names] == PASSES
                assert not {name for name, _ in STAYS} & {name for name, _ in asked.fields}
                assert [value for name, value in asked.fields if name == b"x-request-id"] == [b"mine"]
                assert asked.field(b"content-length") == b"%d" % len(asked.body)

    run(test)


def test_a_request_id_that_the_router_made_is_the_same_on_both(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [counts(None)]) as two:
            two.serve(bench)
            transaction = await bench.answer(BODY, headers=[(b"x-request-id", b"")])
            (sent,) = {asked.field(b"x-request-id") for one in (*two.prefill, *two.decode) for asked in one.asked}
            assert sent
            assert (b"x-request-id", sent) in transaction.headers

    run(test)


@pytest.mark.parametrize("of_the_router", [None, "the-routers"])
def test_both_legs_are_authorised_by_the_same(run: Run, tmp_path: Path, of_the_router: str | None) -> None:
    key = tmp_path / "key"
    key.write_text(of_the_router or "")
    key.chmod(0o600)

    async def test(bench: Bench) -> None:
        async with pair([hands_over], [counts(None)]) as two:
            bench.configure(worker_key_file=str(key) if of_the_router else None)
            two.serve(bench)
            await bench.answer(BODY, headers=[(b"authorization", b"Bearer the-clients")])
            for asked in (two.prefill[0].asked[0], two.decode[0].asked[0]):
                values = [value for name, value in asked.fields if name == b"authorization"]
                assert values == [f"Bearer {of_the_router or 'the-clients'}".encode()]

    run(test)


# --- data-parallel ranks ---------------------------------------------------------------------------------


def serve_ranks(bench: Bench, two: Pair, prefill: int, decode: int) -> None:
    """Take each of the two servers for so many ranks, or for one worker that is none (0)."""
    halves: dict[Role, tuple[str, int]] = {
        "prefill": (two.prefill[0].url, prefill),
        "decode": (two.decode[0].url, decode),
    }
    bench.serve_workers(
        *(
            Worker(id=f"{role[0]}@{rank}", url=url, role=role, rank=rank, state="ready", models=("m",))
            for role, (url, count) in halves.items()
            for rank in (range(count) if count else [None])
        )
    )


def ranks_of(two: Pair) -> list[tuple[list[bytes], list[bytes]]]:
    """Return the values of the field in each prefill and the decode after it."""
    asked = zip(two.prefill[0].asked, two.decode[0].asked, strict=True)
    return [
        (
            [value for name, value in one.fields if name == RANK],
            [value for name, value in other.fields if name == RANK],
        )
        for one, other in asked
    ]


def test_each_leg_names_the_rank_of_its_own_worker_once(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [counts(None)]) as two:
            serve_ranks(bench, two, 2, 3)
            for _ in range(6):
                assert (await bench.answer(BODY)).status == 200
            assert ranks_of(two) == [([b"%d" % (n % 2)], [b"%d" % (n % 3)]) for n in range(6)]

    run(test)


def test_a_clients_rank_counts_for_both_legs(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [counts(None)]) as two:
            serve_ranks(bench, two, 2, 3)
            for _ in range(3):
                assert (await bench.answer(BODY, headers=[(RANK, b"1")])).status == 200
            assert ranks_of(two) == [([b"1"], [b"1"])] * 3
            # No prefill worker is that rank: a decode worker does it all.
            assert (await bench.answer(BODY, headers=[(RANK, b"2")])).status == 200
            assert (len(two.prefill[0].asked), len(two.decode[0].asked)) == (3, 4)
            assert (await bench.answer(BODY, headers=[(RANK, b"3")])).status == 400

    run(test)


def test_a_half_without_ranks_takes_any(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [counts(None)]) as two:
            serve_ranks(bench, two, 2, 0)
            for _ in range(2):
                assert (await bench.answer(BODY, headers=[(RANK, b"1")])).status == 200
            assert ranks_of(two) == [([b"1"], [])] * 2

    run(test)


def test_a_clients_rank_is_refused_where_clients_have_none(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([hands_over], [counts(None)]) as two:
            bench.configure(refuse_client_rank=True)
            serve_ranks(bench, two, 2, 2)
            refused = await bench.answer(BODY, headers=[(RANK, b"1")])
            assert (refused.status, error_of(refused)["code"]) == (400, "rank_refused")
            assert not two.prefill[0].asked

    run(test)


# --- the answer ------------------------------------------------------------------------------------------

JSON = b"content-type: application/json\r\n"


def usage_of(cached: int | None, **more: Any) -> dict[str, Any]:
    details = None if cached is None else {"cached_tokens": cached}
    return {"choices": [], "usage": {"prompt_tokens": 9, "prompt_tokens_details": details}, **more}


def counts(cached: int | None, **more: Any) -> Script:
    """Answer with this count of cached tokens."""
    return answers(200, JSON, json.dumps(usage_of(cached, **more), separators=(",", ":")).encode())


def prefills(cached: int | None) -> Script:
    """Hand over, and tell this count."""

    async def script(asked: Asked) -> None:
        told = {
            "do_remote_prefill": True, "remote_block_ids": [[1]], "remote_engine_id": "e", "remote_host": "h",
            "remote_request_id": f"{cached} {id(asked)}", "remote_port": 1,
        }  # fmt: skip
        await asked.answer(json.dumps(usage_of(cached, kv_transfer_params=told)).encode())

    return script


def streams(*events: bytes) -> Script:
    async def script(asked: Asked) -> None:
        await asked.begin()
        for event in events:
            await asked.chunk(event)
        await asked.end()

    return script


@pytest.mark.parametrize(
    ("prefill", "decode", "told"), [(4, 8, 4), (4, None, 4), (0, 8, 0), (None, 8, 8), (None, None, None), (8, 8, 8)]
)
def test_the_clients_count_is_the_prefills_where_it_tells_one(
    run: Run, prefill: int | None, decode: int | None, told: int | None
) -> None:
    async def test(bench: Bench) -> None:
        async with pair([prefills(prefill)], [counts(decode)]) as two:
            two.serve(bench)
            transaction = await bench.answer(BODY)
            expected = json.dumps(usage_of(told), separators=(",", ":")).encode()
            assert transaction.body == expected
            assert dict(transaction.headers)[b"content-length"] == b"%d" % len(expected)

    run(test)


def test_after_another_prefill_it_is_that_ones(run: Run) -> None:
    async def test(bench: Bench) -> None:
        decode = first(answers(503), counts(8))
        async with pair([prefills(4), prefills(5)], [decode, decode]) as two:
            two.serve(bench)
            assert json.loads((await bench.answer(BODY)).body) == usage_of(5)

    run(test)


def test_who_computes_the_prompt_itself_counts_for_itself(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with pair([counts(4)], [counts(8)]) as two:
            two.serve(bench)
            assert json.loads((await bench.answer(BODY)).body) == usage_of(8)
            assert bench.accounting.disaggregated == {"recomputed": 1}
            bench.configure(kv_connector="example")
            assert json.loads((await bench.answer(BODY)).body) == usage_of(4)

    run(test)


def test_a_stream_has_it_in_its_last_chunk_alone(run: Run) -> None:
    text = b'data: {"choices":[{"text":"a"}],"usage":{"prompt_tokens":9}}\n\n'
    last = b'data: {"choices":[],"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":8}}}\n\n'

    async def test(bench: Bench) -> None:
        async with pair([prefills(4)], [streams(text, text, last, b"data: [DONE]\n\n")]) as two:
            two.serve(bench)
            transaction = await bench.answer(BODY)
            assert transaction.body == text + text + last.replace(b"8", b"4") + b"data: [DONE]\n\n"

    run(test)


def test_a_large_answer_has_it_too_and_one_that_breaks_off_is_an_error(run: Run) -> None:
    large = {"text": "x" * 200_000}

    async def breaks_off(asked: Asked) -> None:
        await asked.write(b"HTTP/1.1 200 OK\r\n%bcontent-length: 200000\r\n\r\n%b" % (JSON, b"x" * 100_000))
        await asked.close()

    async def test(bench: Bench) -> None:
        async with pair([prefills(4)], [first(counts(8, **large), breaks_off)]) as two:
            two.serve(bench)
            transaction = await bench.answer(BODY)
            assert json.loads(transaction.body) == usage_of(4, **large)
            assert dict(transaction.headers)[b"content-length"] == b"%d" % len(transaction.body)
            transaction = await bench.answer(BODY)
            assert (transaction.status, error_of(transaction)["code"]) == (502, "bad_worker_answer")

    run(test)


def test_where_both_are_asked_at_once_it_may_come_while_the_answer_runs(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Example, "order", lambda self, prefill: Order.TOGETHER)

    async def test(bench: Bench) -> None:
        begun = asyncio.Event()

        async def prefill(asked: Asked) -> None:
            await begun.wait()
            await counts(4)(asked)

        async def decode(asked: Asked) -> None:
            await asked.begin()
            await asked.chunk(b'data: {"choices":[{"text":"a"}]}\n\n')
            await until(lambda: [slot.inflight for slot in bench._slots if slot.id == "p0"] == [0])
            await asked.chunk(b'data: {"choices":[],"usage":{"prompt_tokens":9}}\n\n')
            await asked.end()

        async with pair([prefill], [decode]) as two:
            bench.configure(kv_connector="example")
            two.serve(bench)
            transaction = bench.ask(BODY)
            await until(lambda: bool(transaction.body))
            begun.set()
            await bench.ended(transaction)
            assert b'"prompt_tokens_details":{"cached_tokens":4}' in transaction.body

    run(test)


def test_where_both_are_asked_at_once_a_prefill_that_fails_late_leaves_an_answer_that_has_begun(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one of which nothing has gone to the client yet."""
    monkeypatch.setattr(Example, "order", lambda self, prefill: Order.TOGETHER)
    large = json.dumps(usage_of(8, text="x" * 200_000)).encode()

    async def test(bench: Bench) -> None:
        begun = asyncio.Event()

        async def prefill(asked: Asked) -> None:
            await begun.wait()
            await asked.close()

        async def decode(asked: Asked) -> None:
            await asked.write(
                b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (JSON, len(large), large[:100_000])
            )
            await until(lambda: any(request.place().phase is Phase.ANSWERING for request in open_requests(bench)))
            begun.set()
            await until(lambda: [slot.inflight for slot in bench._slots if slot.id == "p0"] == [0])
            await asked.write(large[100_000:])

        async with pair([prefill], [decode]) as two:
            bench.configure(kv_connector="example")
            two.serve(bench)
            transaction = await bench.answer(BODY)
            assert transaction.body == large
            assert (len(two.prefill[0].asked), len(two.decode[0].asked)) == (1, 1)

    run(test)


def open_requests(bench: Bench) -> list[Disaggregated]:
    return [request._attempts for request in bench.forwarder._requests if isinstance(request._attempts, Disaggregated)]


@pytest.mark.parametrize("trusts", [True, False])
def test_where_kv_cache_is_goes_to_trusted_clients_only(run: Run, trusts: bool) -> None:
    """A decode worker tells it with `bidirectional_kv_xfer`."""

    async def test(bench: Bench) -> None:
        async with pair([prefills(None)], [counts(8, kv_transfer_params={"remote_host": "10.0.0.1"})]) as two:
            bench.configure(trust_kv_transfer_params=trusts)
            two.serve(bench)
            told = json.loads((await bench.answer(BODY)).body)["kv_transfer_params"]
            assert told == ({"remote_host": "10.0.0.1"} if trusts else None)

    run(test)


def test_a_coded_answer_passes_as_it_is(run: Run) -> None:
    async def test(bench: Bench) -> None:
        body = b'{"choices":[],"usage":{}}'
        async with pair([prefills(4)], [answers(200, JSON + b"content-encoding: br\r\n", body)]) as two:
            two.serve(bench)
            assert (await bench.answer(BODY)).body == body

    run(test)


def test_nothing_of_an_answer_is_kept(run: Run) -> None:
    """Each lets go of the next, without the garbage collector."""

    async def test(bench: Bench) -> None:
        async with pair([prefills(4)], [first(streams(b"data: x"), counts(8))]) as two:
            two.serve(bench)
            gc.disable()
            try:
                for _ in range(2):
                    await bench.answer(BODY)
                assert not [one for one in gc.get_objects() if issubclass(type(one), Answer)]
            finally:
                gc.enable()

    run(test)
