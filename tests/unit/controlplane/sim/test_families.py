"""The simulator's endpoints beside chat and text completions: each says the same on every worker."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from typing import Any

import pytest
import websockets

from tests.unit.controlplane.sim.client import ask, run, simulator, until

MODEL = "sim-model"
MESSAGES = [{"role": "user", "content": "How are you?"}]


@pytest.mark.parametrize(
    ("target", "body", "there"),
    [
        ("/v1/chat/completions/batch", {"messages": [MESSAGES, MESSAGES], "max_tokens": 3}, "choices"),
        ("/v1/messages", {"messages": MESSAGES, "max_tokens": 3, "system": "Be brief."}, "content"),
        ("/v1/messages/count_tokens", {"messages": MESSAGES}, "input_tokens"),
        ("/v1/responses", {"input": "Hello", "max_output_tokens": 3}, "output"),
        ("/inference/v1/generate", {"token_ids": [1, 2, 3], "sampling_params": {"max_tokens": 3}}, "choices"),
        ("/invocations", {"messages": MESSAGES, "max_tokens": 3}, "choices"),
        ("/invocations", {"prompt": "Hello", "max_tokens": 3}, "choices"),
        ("/pooling", {"input": "Hello"}, "data"),
        ("/classify", {"input": ["Hello", "you"]}, "data"),
        ("/score", {"queries": "Hello", "documents": ["a", "b"]}, "data"),
        ("/v1/score", {"text_1": "Hello", "text_2": "a"}, "data"),
        ("/rerank", {"query": "Hello", "documents": ["a", "b"], "top_n": 1}, "results"),
        ("/v2/rerank", {"query": "Hello", "documents": ["a", "b"]}, "results"),
    ],
)
def test_each_answers_the_same_on_every_worker(target: str, body: dict[str, Any], there: str) -> None:
    async def main() -> None:
        async with simulator(count=2) as urls:
            answers = [await ask(url, "POST", target, {"model": MODEL, **body}) for url in urls]
            assert [answer.status for answer in answers] == [200, 200]
            first, second = (answer.json[there] for answer in answers)
            for one in (first, second):
                if there == "output":
                    one[0].pop("id")
            assert first == second
            assert (await ask(urls[0], "POST", target, {**body, "model": "nope"})).status == 404

    run(main())


def test_a_batch_has_a_choice_for_each_conversation() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            other = [{"role": "user", "content": "Something else"}]
            both = await ask(
                url, "POST", "/v1/chat/completions/batch", {"messages": [MESSAGES, other], "max_tokens": 3}
            )
            each = [
                (await ask(url, "POST", "/v1/chat/completions", {"messages": one, "max_tokens": 3})).json
                for one in (MESSAGES, other)
            ]
            texts = [choice["message"]["content"] for choice in both.json["choices"]]
            assert texts == [one["choices"][0]["message"]["content"] for one in each]

    run(main())


def test_a_stream_says_what_a_whole_answer_says() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            for target, limit, field in (("/v1/messages", "max_tokens", "messages"),
                                         ("/v1/responses", "max_output_tokens", "input")):  # fmt: skip
                body = {field: MESSAGES, limit: 5}
                whole = (await ask(url, "POST", target, body)).json
                stream = await ask(url, "POST", target, {**body, "stream": True})
                events = [json.loads(chunk.partition(b"data: ")[2]) for chunk in stream.chunks]
                deltas = [one["delta"] for one in events if "delta" in one.get("type", "") and "delta" in one]
                words = "".join(one if isinstance(one, str) else one.get("text", "") for one in deltas)
                told = whole["content"] if target == "/v1/messages" else whole["output"][0]["content"]
                assert words == told[0]["text"]

    run(main())


def test_errors_of_messages_have_anthropics_shape() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            answer = await ask(url, "POST", "/v1/messages", {"model": "nope", "messages": MESSAGES, "max_tokens": 1})
            assert answer.json["type"] == "error"
            assert answer.json["error"]["type"] == "NotFoundError"

    run(main())


def test_responses_are_kept_by_the_worker_that_made_them() -> None:
    async def main() -> None:
        async with simulator(count=2, responses_store=True) as [url, other]:
            made = (await ask(url, "POST", "/v1/responses", {"input": "Hello", "max_output_tokens": 3})).json
            path = f"/v1/responses/{made['id']}"
            assert (await ask(url, "GET", path)).json == made
            missing = await ask(other, "GET", path)
            assert (missing.status, missing.json["error"]["param"]) == (404, "response_id")
            assert (await ask(url, "POST", f"{path}/cancel")).status == 400
            follows = {"input": "And then?", "previous_response_id": made["id"], "max_output_tokens": 3}
            after = (await ask(url, "POST", "/v1/responses", follows)).json
            assert after["usage"]["input_tokens"] > made["usage"]["input_tokens"]
            assert (await ask(other, "POST", "/v1/responses", follows)).status == 404

    run(main())


def test_a_response_in_the_background_ends_by_itself_or_is_cancelled() -> None:
    async def main() -> None:
        async with simulator(responses_store=True, time_scale=1, decode_ms=20) as [url]:
            asked = {"input": "Hello", "background": True, "max_output_tokens": 3}
            made = (await ask(url, "POST", "/v1/responses", asked)).json
            assert made["status"] == "queued"
            path = f"/v1/responses/{made['id']}"

            async def is_complete() -> bool:
                return bool((await ask(url, "GET", path)).json["status"] == "incomplete")

            await until(is_complete)
            made = (await ask(url, "POST", "/v1/responses", {**asked, "max_output_tokens": 5000})).json
            cancelled = await ask(url, "POST", f"/v1/responses/{made['id']}/cancel")
            assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
            assert (await ask(url, "GET", "/sim/state")).json["engine"]["running"] == 0

    run(main())


def test_without_a_store_nothing_is_kept_and_nothing_runs_in_the_background() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            made = (await ask(url, "POST", "/v1/responses", {"input": "Hello"})).json
            assert (await ask(url, "GET", f"/v1/responses/{made['id']}")).status == 404
            refused = await ask(url, "POST", "/v1/responses", {"input": "Hello", "background": True})
            assert (refused.status, refused.json["error"]["param"]) == (400, "background")

    run(main())


FORM = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nsim-model\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    + bytes(40_000)
    + b"\r\n--b--\r\n"
)


def test_an_upload_is_transcribed() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            headers = {"content-type": "multipart/form-data; boundary=b"}
            answer = await ask(url, "POST", "/v1/audio/transcriptions", FORM, headers)
            assert answer.json["usage"] == {"type": "duration", "seconds": 2}
            assert answer.json["text"]
            streamed = b'--b\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n' + FORM
            stream = await ask(url, "POST", "/v1/audio/translations", streamed, headers)
            events = [json.loads(chunk[6:]) for chunk in stream.chunks[:-1]]
            assert "".join(event["choices"][0]["delta"]["content"] for event in events) == answer.json["text"]
            assert (await ask(url, "POST", "/v1/audio/translations", b"--b--\r\n", headers)).status == 400

    run(main())


def test_adapters_are_models_while_they_are_loaded() -> None:
    async def main() -> None:
        async with simulator(enable_lora=True) as [url]:
            adapter = {"lora_name": "sql", "lora_path": "/adapters/sql"}
            assert (await ask(url, "POST", "/v1/load_lora_adapter", adapter)).status == 200
            assert (await ask(url, "POST", "/v1/load_lora_adapter", adapter)).status == 400
            cards = (await ask(url, "GET", "/v1/models")).json["data"]
            assert [(card["id"], card["root"], card["parent"]) for card in cards] == [
                (MODEL, MODEL, None),
                ("sql", "/adapters/sql", MODEL),
            ]
            asked = {"model": "sql", "prompt": "Hello", "max_tokens": 1}
            assert (await ask(url, "POST", "/v1/completions", asked)).json["model"] == "sql"
            assert (await ask(url, "POST", "/v1/unload_lora_adapter", {"lora_name": "sql"})).status == 200
            assert (await ask(url, "POST", "/v1/completions", asked)).status == 404
            wrong = {"lora_name": "x", "lora_path": "/adapters/missing"}
            assert (await ask(url, "POST", "/v1/load_lora_adapter", wrong)).status == 404

    run(main())


def test_adapters_can_not_be_loaded_where_that_is_off() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            assert (await ask(url, "POST", "/v1/load_lora_adapter", {"lora_name": "a", "lora_path": "b"})).status == 404

    run(main())


def socket_url(url: str, path: str) -> str:
    return f"ws{url.removeprefix('http')}{path}"


def test_speech_in_real_time() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            async with websockets.connect(socket_url(url, "/v1/realtime")) as socket:

                async def heard() -> dict[str, Any]:
                    event: dict[str, Any] = json.loads(await socket.recv())
                    return event

                assert (await heard())["type"] == "session.created"
                await socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
                assert (await heard())["code"] == "model_not_validated"
                await socket.send(json.dumps({"type": "session.update", "model": MODEL}))
                await socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
                for _ in range(3):
                    audio = b64encode(bytes(320)).decode()
                    await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
                words = [(await heard())["delta"] for _ in range(3)]
                await socket.send(json.dumps({"type": "input_audio_buffer.commit", "final": True}))
                done = await heard()
                assert (done["type"], done["text"]) == ("transcription.done", "".join(words))
            recorded = (await ask(url, "GET", "/sim/requests")).json["requests"]
            assert [(one["status"], one["outcome"]) for one in recorded] == [(101, "finished")]
            assert (await ask(url, "GET", "/v1/realtime")).status == 404

    run(main())


def test_a_socket_that_echoes() -> None:
    async def main() -> None:
        async with simulator() as [url], websockets.connect(socket_url(url, "/sim/echo/socket")) as socket:
            await socket.send("text")
            await socket.send(b"\x00\x01")
            assert [await socket.recv(), await socket.recv()] == ["text", b"\x00\x01"]
            await asyncio.wait_for(await socket.ping(), 10)

    run(main())
