"""Chat, completions, embeddings and tokens, asked through the official client and by hand."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from controlplane.sim import SimConfig

from .client import CHAT, COMPLETION, ask, run, simulator, state


def client_of(url: str, key: str = "none") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def test_the_official_client_gets_whole_and_streamed_answers_that_agree() -> None:
    async def main() -> None:
        async with simulator() as [url], client_of(url) as client:
            whole = await client.chat.completions.create(
                model="sim-model", messages=[{"role": "user", "content": "Hi"}], max_tokens=20
            )
            stream = await client.chat.completions.create(
                model="sim-model",
                messages=[{"role": "user", "content": "Hi"}],
                max_tokens=20,
                stream=True,
                stream_options={"include_usage": True},
            )
            chunks = [chunk async for chunk in stream]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert text == whole.choices[0].message.content
            assert whole.usage is not None
            assert chunks[-1].usage is not None
            assert chunks[-1].usage.model_dump()["completion_tokens"] == whole.usage.completion_tokens == 20
            assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "length"
            completion = await client.completions.create(model="sim-model", prompt=["a", "b"], n=2, max_tokens=3)
            assert [choice.index for choice in completion.choices] == [0, 1, 2, 3]
            assert [model.id async for model in client.models.list()] == ["sim-model"]
            vectors = await client.embeddings.create(model="sim-model", input=["a", "b"])
            assert len(vectors.data[0].embedding) == len(vectors.data[1].embedding) == 32
            assert vectors.data[0].embedding != vectors.data[1].embedding

    run(main())


def test_every_worker_gives_the_same_answer_to_the_same_prompt() -> None:
    async def main() -> None:
        async with simulator(count=2) as one, simulator(count=1) as other:
            answers = {
                (await ask(url, "POST", "/v1/completions", {**COMPLETION, "max_tokens": 50})).json["choices"][0]["text"]
                for url in (*one, *other)
            }
            assert len(answers) == 1

    run(main())


def test_a_prompt_may_be_text_or_the_ids_of_it() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            text = "Hello, wide world\n"
            tokens = (await ask(url, "POST", "/tokenize", {"prompt": text})).json
            assert tokens["count"] == len(tokens["tokens"])
            back = (await ask(url, "POST", "/detokenize", {"tokens": tokens["tokens"]})).json
            assert back == {"prompt": text}
            by_text, by_ids = [
                (await ask(url, "POST", "/v1/completions", {**COMPLETION, "prompt": prompt})).json
                for prompt in (text, tokens["tokens"])
            ]
            assert by_text["choices"] == by_ids["choices"]
            chat = (await ask(url, "POST", "/tokenize", {"messages": CHAT["messages"]})).json
            answer = (await ask(url, "POST", "/v1/chat/completions", CHAT)).json
            assert answer["usage"]["prompt_tokens"] == chat["count"]

    run(main())


def test_without_a_limit_a_chat_ends_by_itself_and_at_stop_strings_before() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            free = {"messages": CHAT["messages"]}
            choice = (await ask(url, "POST", "/v1/chat/completions", free)).json["choices"][0]
            assert choice["finish_reason"] == "stop"
            words = choice["message"]["content"].split()
            stopped = (await ask(url, "POST", "/v1/chat/completions", {**free, "stop": [words[5]]})).json["choices"][0]
            assert stopped["stop_reason"] == words[5]
            assert words[5] not in stopped["message"]["content"]
            assert choice["message"]["content"].startswith(stopped["message"]["content"])

    run(main())


def test_token_ids_are_returned_when_asked_for() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            body = {**COMPLETION, "return_token_ids": True}
            choice = (await ask(url, "POST", "/v1/completions", body)).json["choices"][0]
            tokens = (await ask(url, "POST", "/tokenize", {"prompt": COMPLETION["prompt"]})).json["tokens"]
            assert choice["prompt_token_ids"] == tokens
            text = (await ask(url, "POST", "/detokenize", {"tokens": choice["token_ids"]})).json["prompt"]
            assert text == choice["text"]

    run(main())


def test_a_repeated_prompt_is_found_in_the_cache_and_shown_in_metrics() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            body = {**COMPLETION, "prompt": "word " * 100}
            for _ in range(2):
                await ask(url, "POST", "/v1/completions", body)
            engine = (await state(url))["engine"]
            assert engine["prefix_cache_hits"] > 100
            page = (await ask(url, "GET", "/metrics")).body.decode()
            figures = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
            own = '{engine="0",model_name="sim-model"}'
            assert float(figures[f"vllm:prefix_cache_hits_total{own}"]) == engine["prefix_cache_hits"]
            assert float(figures[f"vllm:generation_tokens_total{own}"]) == 8
            assert float(figures[f"vllm:time_to_first_token_seconds_count{own}"]) == 2
            handler = '{handler="/v1/completions",method="POST",status="2xx"}'
            assert float(figures[f"http_requests_total{handler}"]) == 2

    run(main())


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/v1/chat/completions", {**CHAT, "max_tokens": 0}, 400, "max_tokens must be at least 1, got 0."),
        ("/v1/chat/completions", {**CHAT, "stream_options": {}}, 400, "only be defined when `stream=True`"),
        ("/v1/chat/completions", {**CHAT, "n": 1000}, 400, "n must be between 1 and 128"),
        ("/v1/chat/completions", {"messages": [{"role": 1}]}, 400, "'loc': 'body.messages.0.role'"),
        ("/v1/completions", {**COMPLETION, "min_tokens": 9}, 400, "min_tokens must be less than or equal"),
        ("/v1/completions", {**COMPLETION, "prompt": ""}, 400, "non-empty"),
        ("/v1/completions", {**COMPLETION, "prompt": [1, "a"]}, 400, "not a mixture"),
        ("/v1/completions", {**COMPLETION, "prompt": [-1]}, 400, "Token id -1 is out of vocabulary"),
        ("/v1/embeddings", {"model": "other", "input": "a"}, 404, "Valid aliases: sim-model."),
    ],
)
def test_wrong_requests(path: str, body: dict[str, Any], status: int, says: str) -> None:
    async def main() -> None:
        async with simulator() as [url]:
            answer = await ask(url, "POST", path, body)
            assert answer.status == status
            assert says in answer.json["error"]["message"]
            assert (await state(url))["engine"]["running"] == 0

    run(main())


def test_only_json_is_read() -> None:
    async def main() -> None:
        async with simulator() as [url]:
            answer = await ask(url, "POST", "/v1/completions", COMPLETION, {"content-type": "text/plain"})
            assert answer.status == 400
            assert "Only 'application/json' is allowed" in answer.json["error"]["message"]

    run(main())


def test_a_key_guards_the_v1_paths_only() -> None:
    async def main() -> None:
        async with simulator(api_key="secret") as [url], client_of(url, "secret") as client:
            assert [model.id async for model in client.models.list()] == ["sim-model"]
            refused = await ask(url, "GET", "/v1/models")
            assert (refused.status, refused.body) == (401, b'{"error":"Unauthorized"}')
            assert refused.header("vary") is None
            assert (await ask(url, "GET", "/v1/models", headers={"authorization": "Bearer no"})).status == 401
            assert (await ask(url, "GET", "/health")).status == 200

    run(main())


def test_load_is_counted_only_when_tracked() -> None:
    async def main() -> None:
        slow = SimConfig(port=0, server_load_tracking=True)
        async with simulator(slow) as [url], client_of(url) as client:
            stream = await client.completions.create(model="sim-model", prompt="a", max_tokens=30000, stream=True)
            assert (await ask(url, "GET", "/load")).json == {"server_load": 1}
            await stream.close()

    run(main())


def test_a_request_goes_to_the_rank_that_it_names() -> None:
    async def main() -> None:
        async with simulator(data_parallel_size=2) as [url]:
            for rank in ("1", "1", "0"):
                told = await ask(url, "POST", "/v1/completions", COMPLETION, headers={"X-data-parallel-rank": rank})
                assert told.status == 200
            engines = (await ask(url, "GET", "/sim/state")).json["engines"]
            assert engines[1]["prompt_tokens"] == 2 * engines[0]["prompt_tokens"] > 0
            refused = await ask(url, "POST", "/v1/completions", COMPLETION, headers={"X-data-parallel-rank": "7"})
            assert refused.status == 400
            assert refused.json["error"]["message"] == "data_parallel_rank 7 is out of range [0, 2)."
            passed = await ask(url, "POST", "/v1/completions", COMPLETION, headers={"X-data-parallel-rank": "x"})
            assert passed.status == 200

    run(main())
