"""The official client, through two planes."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.integration.routers import Router

MODEL = "sim-model"
QUESTION: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Say something."}]


@pytest.fixture
def api(router: Router) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{router.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_models(api: openai.OpenAI) -> None:
    assert [model.id for model in api.models.list()] == [MODEL]


def test_chat(api: openai.OpenAI) -> None:
    answer = api.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=8)

    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8


def test_chat_stream_says_what_chat_says(api: openai.OpenAI) -> None:
    whole = api.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=8).choices[0].message.content
    stream = api.chat.completions.create(
        model=MODEL, messages=QUESTION, max_tokens=8, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 8


def test_completions(api: openai.OpenAI) -> None:
    whole = api.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=8).choices[0].text
    stream = api.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=8, stream=True)

    assert "".join(chunk.choices[0].text for chunk in stream if chunk.choices) == whole


def test_embeddings(api: openai.OpenAI) -> None:
    assert api.embeddings.create(model=MODEL, input="words", encoding_format="float").data[0].embedding


def test_an_unknown_model_raises_not_found(api: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        api.chat.completions.create(model="nope", messages=QUESTION)
