from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from controlplane.sim import tokenizer as simulated
from dataplane.kv.prompts import MOST_BODY, MOST_PENDING, WHY, PromptKeys, Prompts
from shared.kv_chain import chain, encode_extra, root
from tests.sim_tokenizer import TEMPLATE, write_tokenizer

TEXT = "The quick brown fox jumps over 13 lazy dogs."
CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
RESPONSES, ANTHROPIC = "/v1/responses", "/v1/messages"
MESSAGES = [{"role": "user", "content": TEXT}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tokenizer(tmp_path / "model", [TEXT])


def play(act: Callable[[Prompts], Awaitable[None]]) -> None:
    async def run() -> None:
        prompts = Prompts()
        try:
            async with asyncio.timeout(30):
                await act(prompts)
        finally:
            prompts.close()

    asyncio.run(run())


async def read(
    prompts: Prompts,
    body: dict[str, Any] | bytes,
    path: str = COMPLETION,
    *,
    adapter: str | None = None,
    model: str = "m",
    sizes: tuple[int, ...] = (4,),
) -> PromptKeys:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await prompts.read(path, raw, model, adapter, sizes)


def test_token_ids_need_no_tokenizer() -> None:
    async def act(prompts: Prompts) -> None:
        ids = list(range(10))
        for prompt in (ids, [ids, [99]]):
            found = await read(prompts, {"prompt": prompt}, sizes=(4, 3))
            assert found == PromptKeys(10, {4: chain(root(None), ids, 4), 3: chain(root(None), ids, 3)})

    play(act)


def test_adapters_and_salts_have_chains_of_their_own() -> None:
    async def act(prompts: Prompts) -> None:
        ids = list(range(8))
        found = await read(prompts, {"prompt": ids, "cache_salt": "s"}, adapter="a")
        assert found.keys[4] == chain(root("a"), ids, 4, [encode_extra(["s"]), None])
        assert (await read(prompts, {"prompt": [1], "cache_salt": "s"})).keys == {4: []}

    play(act)


def test_texts_and_chats_are_tokenised(folder: Path) -> None:
    async def act(prompts: Prompts) -> None:
        prompts.use((str(folder),))
        ids = simulated.encode(TEXT)
        expected = PromptKeys(len(ids), {4: chain(root(None), ids, 4)})
        # One thread does everything in order: the tokenizer is there before the first prompt is read.
        assert await read(prompts, {"prompt": TEXT}) == expected
        assert await read(prompts, {"prompt": [TEXT, "more"]}) == expected
        ids = simulated.chat([("user", TEXT)])
        found = await read(prompts, {"messages": MESSAGES, "tools": None, "unknown": 1}, CHAT)
        assert found == PromptKeys(len(ids), {4: chain(root(None), ids, 4)})
        shorter = await read(prompts, {"messages": MESSAGES, "add_generation_prompt": False}, CHAT)
        assert shorter.tokens < found.tokens

    play(act)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (RESPONSES, {"input": TEXT}),
        (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_text", "text": TEXT}]}]}),
        (ANTHROPIC, {"messages": MESSAGES, "max_tokens": 5}),
        (ANTHROPIC, {"messages": [{"role": "user", "content": [{"type": "text", "text": TEXT}]}]}),
    ],
)
def test_responses_and_messages_are_the_chats_that_they_stand_for(folder: Path, path: str, body: Any) -> None:
    async def act(prompts: Prompts) -> None:
        prompts.use((str(folder),))
        chat = await read(prompts, {"messages": MESSAGES}, CHAT)
        assert chat.tokens
        assert await read(prompts, body, path) == chat
        salted = await read(prompts, {**body, "cache_salt": "s"}, path)
        assert (salted.tokens, salted.keys == chat.keys) == (chat.tokens, False)

    play(act)


def test_a_system_message_within_goes_first_where_the_template_wants_it(tmp_path: Path) -> None:
    async def act(prompts: Prompts) -> None:
        guard = "{% if not loop.first and message.role == 'system' %}{{ raise_exception('first') }}{% endif %}"
        template = TEMPLATE.replace("%}<|im_start|>", f"%}}{guard}<|im_start|>", 1)
        prompts.use((str(write_tokenizer(tmp_path / "model", [TEXT], template)),))
        said = [*MESSAGES, {"role": "system", "content": TEXT}]
        assert (await read(prompts, {"messages": said}, CHAT)).why == "unreadable"
        assert await read(prompts, {"messages": said}, ANTHROPIC) == await read(prompts, {"messages": said[::-1]}, CHAT)

    play(act)


def test_each_model_has_its_own_tokenizer(folder: Path) -> None:
    async def act(prompts: Prompts) -> None:
        prompts.use((f"other={folder}",))
        assert (await read(prompts, {"prompt": TEXT}, model="other")).why == ""
        assert (await read(prompts, {"prompt": TEXT}, model="m")).why == "no_tokenizer"
        prompts.use(())
        assert (await read(prompts, {"prompt": TEXT}, model="other")).why == "no_tokenizer"

    play(act)


def test_a_folder_that_can_not_be_used_is_named_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def act(prompts: Prompts) -> None:
        (tmp_path / "tokenizer.json").write_text("{}")
        prompts.use((str(tmp_path),))
        with caplog.at_level(logging.ERROR):
            assert (await read(prompts, {"prompt": TEXT})).why == "tokenizer_failed"
        assert str(tmp_path) in caplog.text

    play(act)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (COMPLETION, b"{"),
        (COMPLETION, b"[]"),
        (COMPLETION, {"prompt": 5}),
        (COMPLETION, {"prompt": []}),
        (COMPLETION, {"prompt": [1, "x"]}),
        (COMPLETION, {"prompt": [-1, 2, 3, 4]}),
        (COMPLETION, {"prompt": [[1, [2]]]}),
        (COMPLETION, {"prompt": TEXT, "truncate_prompt_tokens": 5}),
        (CHAT, {"prompt": TEXT}),
        (RESPONSES, {"input": 5}),
        (RESPONSES, {"input": TEXT, "previous_response_id": "resp_1"}),
        (ANTHROPIC, {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}]}),
        (CHAT, {"messages": []}),
        (CHAT, {"messages": MESSAGES, "chat_template": "{{ 1 }}"}),
        (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
    ],
)
def test_what_can_not_be_read_says_so(folder: Path, path: str, body: Any) -> None:
    async def act(prompts: Prompts) -> None:
        prompts.use((str(folder),))
        assert await read(prompts, body, path) == PromptKeys(why="unreadable")

    play(act)


def test_some_prompts_are_not_even_looked_into() -> None:
    async def act(prompts: Prompts) -> None:
        assert prompts.why_not(CHAT, b"{}") is None
        assert prompts.why_not("/v1/embeddings", b"{}") == "unreadable"
        assert prompts.why_not(CHAT, bytes(MOST_BODY + 1)) == "too_large"
        pending = [prompts.read(COMPLETION, b'{"prompt": [1]}', None, None, (1,)) for _ in range(MOST_PENDING)]
        assert prompts.why_not(CHAT, b"{}") == "too_many"
        await asyncio.gather(*pending)
        assert prompts.why_not(CHAT, b"{}") is None

    play(act)


def test_every_reason_is_explained() -> None:
    assert set(WHY) == {"no_tokenizer", "tokenizer_failed", "tokenizer_loading", "too_large", "too_many", "unreadable"}
