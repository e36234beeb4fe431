"""G-BYTES with the official client: what it sends arrives as it wrote it, and it reads what the worker answered."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest

from tests.integration.bytes.messages import STREAM, answer, chunked
from tests.integration.bytes.raw_worker import RawWorker, saying
from tests.integration.routers import Router

JSON = (b"content-type", b"application/json")
ODD = 'quote " slash / \\ \u00e9 \u2028 \U0001f600 \x00 \x7f \ufeff data: [DONE]\n\n </s>'
USER: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": ODD}]


@pytest.fixture
def api(router: Router) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{router.url}/v1", api_key="sk-odd", max_retries=0) as client:
        yield client


def completion(content: str) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    told = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return json.dumps(told, ensure_ascii=False).encode()


def event(content: str, *, escaped: bool) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None}
    told = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: %b\n\n" % json.dumps(told, ensure_ascii=escaped).encode()


def test_g_bytes_1_what_the_client_adds_to_a_body_arrives(worker: RawWorker, api: openai.OpenAI) -> None:
    worker.script = saying(answer(completion(ODD), fields=[JSON]))
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "x": [1e300, -0.0, ODD], "": None, "top_k": 10**30}
    told = api.chat.completions.create(model="m", messages=USER, extra_body=extra, extra_query={"a": "\u00e9 &"})
    assert told.choices[0].message.content == ODD
    asked = worker.taken()
    sent = json.loads(asked.body)
    assert sent == {"messages": USER, "model": "m", **extra}
    assert asked.request_line == b"POST /v1/chat/completions?a=%C3%A9+%26 HTTP/1.1"
    assert asked.values(b"authorization") == [b"Bearer sk-odd"]


@pytest.mark.parametrize("escaped", [False, True])
def test_g_bytes_2_odd_events(worker: RawWorker, api: openai.OpenAI, *, escaped: bool) -> None:
    """Characters at which a careless reader would split lines, each as an event of its own."""
    chunks = [event(character, escaped=escaped) for character in ODD]
    worker.script = saying(chunked(*chunks, b"data: [DONE]\n\n", fields=[STREAM]))
    stream = api.chat.completions.create(model="m", messages=USER, stream=True)
    assert "".join(part.choices[0].delta.content or "" for part in stream) == ODD


@pytest.mark.parametrize(("status", "error"), [(401, openai.AuthenticationError), (422, openai.APIStatusError)])
def test_g_bytes_2_errors_are_the_workers_own(
    worker: RawWorker, api: openai.OpenAI, status: int, error: type[openai.APIStatusError]
) -> None:
    body = {"message": ODD, "type": "odd", "param": None, "code": status}
    raw = json.dumps({"error": body}, ensure_ascii=False).encode()
    worker.script = saying(answer(raw, status=b"%d Odd" % status, fields=[JSON]))
    with pytest.raises(error) as raised:
        api.chat.completions.create(model="m", messages=USER)
    assert raised.value.body == body
    assert raised.value.response.content == raw
