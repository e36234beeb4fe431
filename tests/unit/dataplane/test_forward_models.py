"""Requests for names of `[models]`: the arm, the body that the worker gets, what is counted and remembered."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import httpx

from dataplane.model_routes import Taken
from dataplane.receipt_writing import receipt
from shared.model_rules import ModelArm, ModelRule
from shared.receipt import ArmReceipt
from shared.table import Worker
from tests.unit.dataplane.forward_bench import Bench, Run, error_of, well, workers
from tests.unit.dataplane.listening import until
from tests.unit.dataplane.scripted_worker import Asked, ScriptedWorker

SPLIT = ModelRule(split=(ModelArm(to="m", weight=1), ModelArm(to="n", weight=1)))
RNG = random.Random(1)
STABLE, CANARY = {"track": "stable"}, {"track": "canary"}


def serve(bench: Bench, *told: tuple[str, tuple[str, ...], dict[str, str]], **settings: Any) -> None:
    bench.configure(**settings)
    bench.serve_workers(
        *(
            Worker(id="abcdefgh"[number], url=url, epoch=7, state="ready", models=models, labels=labels)
            for number, (url, models, labels) in enumerate(told)
        )
    )


def asking(model: str) -> bytes:
    return b'{ "prompt" : "x" , "model":"%b" }' % model.encode()


def bodies(worker: ScriptedWorker) -> list[bytes]:
    return [asked.body for asked in worker.asked]


def told_of(bench: Bench, request_id: bytes = b"mine") -> Any:
    record = bench.forwarder.receipts.find(request_id)
    assert record is not None
    return receipt(record, plane="p", arrived=1.0)


def test_an_alias_is_rewritten_and_nothing_else(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as [one]:
            serve(bench, (one.url, ("m",), {}), models={"gpt": ModelRule(to="m")})
            answer = await bench.answer(asking("gpt"))
            assert answer.status == 200
            assert bodies(one) == [b'{ "prompt" : "x" , "model":"m" }']
            assert bench.accounting.spliced == {"model": 1}
            assert bench.accounting.arm_requests == {("gpt", "m", "2xx"): 1}
            assert {key[2] for key in bench.accounting.requests} == {"m"}
            told = told_of(bench)
            assert (told.model, told.arm) == ("gpt", ArmReceipt(to="m", by="single", rewritten=True))

    run(test)


def test_without_rewriting_the_body_is_the_clients(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as [one]:
            serve(bench, (one.url, ("m",), {}), models={"gpt": ModelRule(to="m", rewrite=False)})
            await bench.answer(asking("gpt"))
            assert bodies(one) == [asking("gpt")]
            assert not bench.accounting.spliced
            assert told_of(bench).arm == ArmReceipt(to="m")

    run(test)


def test_a_session_stays_on_its_arm(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well, well) as [m, n]:
            serve(bench, (m.url, ("m",), {}), (n.url, ("n",), {}), models={"chat": SPLIT})
            for session in range(8):
                for _ in range(3):
                    await bench.answer(asking("chat"), headers=[(b"x-session-id", b"%d" % session)])
            assert len(bodies(m)) % 3 == len(bodies(n)) % 3 == 0
            assert bodies(m)
            assert bodies(n)
            assert told_of(bench).arm.by == "session"

    run(test)


def test_a_form_names_its_model_and_is_rewritten(run: Run) -> None:
    async def test(bench: Bench) -> None:
        sent = httpx.Request("POST", "http://a", data={"model": "whisper-1"}, files={"file": b"RIFF"})
        headers = [(b"content-type", sent.headers["content-type"].encode())]
        body = sent.read()
        async with workers(well, well) as [m, n]:
            serve(bench, (m.url, ("m",), {}), (n.url, ("org/w",), {}), models={"whisper-1": ModelRule(to="org/w")})
            await bench.answer(body, headers=headers, path="/v1/audio/transcriptions")
            assert bodies(n) == [body.replace(b"whisper-1", b"org/w")]
            # A path that takes no form: nothing is looked for in it.
            await bench.answer(body, headers=headers, path="/v1/completions")
            assert body in (*bodies(m), *bodies(n))
            answer = await bench.answer(
                body.replace(b"whisper-1", b"whisper-9"), headers=headers, path="/v1/audio/translations"
            )
            assert (answer.status, error_of(answer)["code"]) == (404, "model_not_found")

    run(test)


def test_an_arm_is_a_group_of_workers(run: Run) -> None:
    async def test(bench: Bench) -> None:
        rule = ModelRule(split=(ModelArm(labels=STABLE, weight=1), ModelArm(labels=CANARY, weight=1)))
        async with workers(well, well) as [stable, canary]:
            serve(bench, (stable.url, ("m",), STABLE), (canary.url, ("m",), CANARY), models={"m": rule})
            for session in range(12):
                await bench.answer(asking("m"), headers=[(b"x-session-id", b"%d" % session)])
            assert bodies(stable)
            assert bodies(canary)
            assert {*bodies(stable), *bodies(canary)} == {asking("m")}
            counted = bench.accounting.arm_requests
            assert counted == {
                ("m", "track=stable", "2xx"): len(bodies(stable)),
                ("m", "track=canary", "2xx"): len(bodies(canary)),
            }
            told = told_of(bench)
            assert told.arm.labels in (STABLE, CANARY)
            [attempt] = told.attempts
            assert [left.reason for left in attempt.left_out] == ["has not the labels of the arm"]

    run(test)


def test_an_arm_that_nobody_is_ready_for_falls_to_the_others(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as [n]:
            serve(bench, (n.url, ("n",), {}), models={"chat": SPLIT})
            for session in range(8):
                answer = await bench.answer(asking("chat"), headers=[(b"x-session-id", b"%d" % session)])
                assert answer.status == 200
            assert told_of(bench).arm.by == "only"

    run(test)


def test_a_request_leaves_an_arm_whose_worker_can_not_be_reached(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well, well) as [m, n]:
            serve(bench, (m.url, ("m",), {}), (n.url, ("n",), {}), models={"chat": SPLIT}, retry_initial_backoff=0.0)
            session = next(
                [(b"x-session-id", b"%d" % number)]
                for number in range(50)
                if bench.fleet.view.routes["chat"].take({b"x-session-id": b"%d" % number}, (b"x-session-id",), RNG)
                == Taken(bench.fleet.view.routes["chat"].arms[0], "session")
            )
            await m.stop()
            for _ in range(2):
                answer = await bench.answer(asking("chat"), headers=session)
                assert answer.status == 200
            assert bodies(n) == [asking("n")] * 2
            # The second one knew of it.
            assert bench.accounting.retries == {"connect-failed": 1}
            assert bench.accounting.arm_requests == {("chat", "n", "2xx"): 2}
            assert bench.accounting.spliced == {"model": 2}
            assert told_of(bench).arm.to == "n"

    run(test)


def test_a_request_that_goes_on_from_a_response_takes_the_arm_that_made_it(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well, well) as [m, n]:
            serve(bench, (m.url, ("m",), {}), (n.url, ("n",), {}), models={"chat": SPLIT})
            for number, (model, one) in enumerate((("m", m), ("n", n)) * 4):
                response = b"resp_%d" % number
                bench.fleet.homes.note(response.decode(), "a" if one is m else "b")
                body = asking("chat").replace(b'"x"', b'"x","previous_response_id":"%b"' % response)
                await bench.answer(body, path="/v1/responses")
                assert bodies(one)[-1] == body.replace(b'"chat"', b'"%b"' % model.encode())
            assert (len(bodies(m)), len(bodies(n))) == (4, 4)
            assert told_of(bench).arm.by == "response"

    run(test)


def test_a_request_that_has_waited_leaves_an_arm_whose_workers_have_left(run: Run) -> None:
    gate = asyncio.Event()

    async def script(asked: Asked) -> None:
        await gate.wait()
        await asked.answer()

    async def test(bench: Bench) -> None:
        async with workers(script, script) as [m, n]:
            limited: Any = {"models": {"chat": SPLIT, "x": ModelRule(to="n")}, "max_concurrent_requests": 1}
            serve(bench, (m.url, ("m",), {}), (n.url, ("n",), {}), **limited)
            bench.lend(total=1)
            first = bench.ask(asking("x"))
            await until(lambda: len(bodies(n)) == 1)
            waiting = [bench.ask(asking("chat"), headers=[(b"x-session-id", b"%d" % number)]) for number in range(8)]
            await until(lambda: bench.forwarder.limits.waiting == 8)
            serve(bench, (m.url, ("other",), {}), (n.url, ("n",), {}), **limited)
            gate.set()
            for transaction in (first, *waiting):
                assert (await bench.ended(transaction)).status == 200
            assert bodies(m) == []
            assert set(bodies(n)) == {asking("n")}

    run(test)


def test_a_busy_arm_is_not_left(run: Run) -> None:
    async def busy(asked: Asked) -> None:
        await asked.answer(status=503)

    async def test(bench: Bench) -> None:
        async with workers(busy, busy) as [m, n]:
            serve(bench, (m.url, ("m",), {}), (n.url, ("n",), {}), models={"chat": SPLIT}, max_attempts=2)
            answer = await bench.answer(asking("chat"))
            assert answer.status == 503
            assert sorted((len(bodies(m)), len(bodies(n)))) == [0, 2]

    run(test)


def test_nobody_ready_for_any_arm_is_503(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as [one]:
            serve(bench, (one.url, ("x",), {}), models={"chat": SPLIT})
            answer = await bench.answer(asking("chat"))
            assert (answer.status, error_of(answer)["code"]) == (503, "no_worker_available")
            assert dict(answer.headers)[b"retry-after"] == b"1"
            assert "`chat`" in error_of(answer)["message"]
            told = told_of(bench)
            assert (told.model, told.arm) == ("chat", None)
            assert [left.reason for left in told.left_out] == ["does not serve the model"]

    run(test)


def test_an_empty_name_is_none_as_for_vllm(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as [one]:
            serve(bench, (one.url, ("m",), {}), models={"gpt": ModelRule(to="m")})
            assert (await bench.answer(asking(""))).status == 200
            assert bodies(one) == [asking("")]
            assert told_of(bench).model is None

    run(test)


def test_an_unknown_model_is_404(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as [one]:
            serve(bench, (one.url, ("m",), {}), models={"gpt": ModelRule(to="m")})
            answer = await bench.answer(asking("nope"))
            error = error_of(answer)
            assert (answer.status, error["code"], error["param"]) == (404, "model_not_found", "model")
            assert error["type"] == "invalid_request_error"
            assert error["message"].startswith("The model `nope` does not exist. Models served here: m")
            assert not bench.accounting.arm_requests

    run(test)


def test_unknown_models_are_forwarded_where_that_is_wanted(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as [one]:
            serve(bench, (one.url, ("m",), {}), forward_unknown_models=True)
            await bench.answer(asking("nope"))
            assert bodies(one) == [asking("nope")]

    run(test)


def test_a_body_that_can_not_be_rewritten_is_refused(run: Run) -> None:
    async def test(bench: Bench) -> None:
        async with workers(well) as [one]:
            serve(bench, (one.url, ("m",), {}), models={"gpt": ModelRule(to="m")})
            answer = await bench.answer(json.dumps({"model": "gpt"}).encode("utf-16"))
            assert (answer.status, error_of(answer)["code"]) == (400, "unreadable_body")
            assert bodies(one) == []
            assert bench.accounting.arm_requests == {("gpt", "m", "4xx"): 1}

    run(test)


def test_figures_of_arms_are_bounded(run: Run) -> None:
    async def test(bench: Bench) -> None:
        for number in range(200):
            bench.accounting.arm(f"n{number}", "m", 200, 1.0)
        assert len(bench.accounting.arm_duration) == 101
        assert bench.accounting.arm_requests[("other", "other", "2xx")] == 100

    run(test)
