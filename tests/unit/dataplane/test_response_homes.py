"""Responses are asked for where they were made: by what a plane saw, else by asking one worker after the other."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from dataplane.response_homes import ResponseHomes, wanted_response
from shared.routes import route_of
from tests.unit.dataplane.fake_granian import FakeTransaction
from tests.unit.dataplane.forward_bench import Bench, Run, workers
from tests.unit.dataplane.scripted_worker import Asked, Script

NOT_FOUND = b'{"error":{"message":"Response with id \'resp_1\' not found."}}'


@pytest.mark.parametrize(
    ("path", "body", "wanted"),
    [
        ("/v1/responses/resp_1", b"", "resp_1"),
        ("/v1/responses/resp_1/cancel", b"", "resp_1"),
        ("/v1/responses", b'{"input":"x","previous_response_id":"resp_0"}', "resp_0"),
        ("/v1/responses", b'{"input":"x","previous_response_id":null}', ""),
        ("/v1/responses", b'{"input":"x"}', ""),
        ("/v1/responses", b'{"previous_response_id":5}', ""),
        ("/v1/responses", b"{", ""),
    ],
)
def test_what_a_request_is_about(path: str, body: bytes, wanted: str) -> None:
    assert wanted_response(path, route_of(path), body) == wanted


def test_the_last_ones_are_known_and_long_ids_are_not() -> None:
    homes = ResponseHomes(most=3)
    for number in range(5):
        homes.note(f"resp_{number}", "a")
    homes.note("x" * 129, "a")
    homes.note("", "a")
    assert len(homes) == 3


def keeper(name: str, kept: set[str], *, stream: bool = False) -> Script:
    """A worker that makes `resp_NAME`, and knows those that it keeps."""

    async def script(asked: Asked) -> None:
        path = asked.line.split(b" ")[1].decode()
        if path != "/v1/responses":
            if path.split("/")[3] in kept:
                await asked.answer(json.dumps({"id": path.split("/")[3], "at": name}).encode())
            else:
                await asked.answer(NOT_FOUND, status=404)
            return
        before = json.loads(asked.body).get("previous_response_id")
        if before is not None and before not in kept:
            await asked.answer(NOT_FOUND, status=404)
            return
        made = f"resp_{name}"
        kept.add(made)
        if not stream:
            await asked.answer(json.dumps({"id": made, "object": "response"}, separators=(",", ":")).encode())
            return
        await asked.begin()
        for kind in ("created", "completed"):
            event = json.dumps({"response": {"id": made, "x": "y"}, "type": kind}, separators=(",", ":"))
            await asked.chunk(f"event: response.{kind}\ndata: {event}\n\n".encode())
        await asked.end()

    return script


async def ask(bench: Bench, path: str, body: bytes = b"", method: str = "POST") -> FakeTransaction:
    transaction = bench.ask(body, path=path, method=method)
    if method == "GET":
        transaction.give(b"")
    await bench.ended(transaction)
    return transaction


@pytest.mark.parametrize("stream", [False, True])
def test_the_worker_that_made_it_is_asked_at_once(run: Run, stream: bool) -> None:
    async def test(bench: Bench) -> None:
        scripts = [keeper(name, set(), stream=stream) for name in "abc"]
        async with workers(*scripts) as all_workers:
            bench.serve(*(worker.url for worker in all_workers))
            for _ in "abc":
                await ask(bench, "/v1/responses", b'{"model":"m","input":"x"}')
            asked = Counter(bench.accounting.worker_requests)
            for name in "bca":
                assert json.loads((await ask(bench, f"/v1/responses/resp_{name}", method="GET")).body)["at"] == name
            follow = await ask(bench, "/v1/responses", b'{"model":"m","input":"x","previous_response_id":"resp_c"}')
            assert follow.status == 200
            assert Counter(bench.accounting.worker_requests) - asked == {"a": 1, "b": 1, "c": 2}

    run(test)


def test_who_made_it_is_found_by_asking_and_known_from_then_on(run: Run) -> None:
    async def test(bench: Bench) -> None:
        scripts = [keeper("a", set()), keeper("b", set()), keeper("c", {"resp_old"})]
        async with workers(*scripts) as all_workers:
            bench.serve(*(worker.url for worker in all_workers))
            for _ in range(2):
                assert (await ask(bench, "/v1/responses/resp_old/cancel")).status == 200
            assert bench.accounting.worker_requests == {"a": 1, "b": 1, "c": 2}
            assert bench.evidence == []
            assert bench.accounting.retries == {}

    run(test)


def test_what_nobody_made_is_not_found_once_everybody_was_asked(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(*(keeper(name, set()) for name in "abc")) as all_workers:
            bench.serve(*(worker.url for worker in all_workers))
            missing = await ask(bench, "/v1/responses/resp_1", method="GET")
            assert (missing.status, missing.body) == (404, NOT_FOUND)
            assert bench.accounting.worker_requests == {"a": 1, "b": 1, "c": 1}
            assert len(bench.fleet.homes) == 0

    run(test)


def test_a_worker_that_has_lost_it_is_no_reason_to_ask_nobody_else(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(keeper("a", set()), keeper("b", {"resp_1"})) as all_workers:
            bench.serve(*(worker.url for worker in all_workers))
            bench.fleet.homes.note("resp_1", "a")
            for _ in range(2):
                assert (await ask(bench, "/v1/responses/resp_1", method="GET")).status == 200
            assert bench.accounting.worker_requests == {"a": 1, "b": 2}

    run(test)


def test_other_paths_that_are_not_found_are_asked_once(run: Run) -> None:
    async def missing(asked: Asked) -> None:
        await asked.answer(NOT_FOUND, status=404)

    async def test(bench: Bench) -> None:
        async with workers(missing, missing) as all_workers:
            bench.serve(*(worker.url for worker in all_workers))
            for path in ("/v1/responses", "/v1/nothing"):
                assert (await ask(bench, path, b'{"model":"m"}')).status == 404
            assert bench.accounting.worker_requests == {"a": 1, "b": 1}

    run(test)
