"""Canonical prompts: what begins alike has equal leading blocks, however it is written."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.policies.prompt import ENDS, Prompt, PromptFields, length_of, opening_key, read_prompt, size_of

LONG = "All work and no play makes Jack a dull boy. " * 200


def prompt(body: Any, **style: Any) -> Prompt:
    found = read_prompt(json.dumps(body, **style).encode())
    assert found is not None
    return found


def say(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def chat(system: str, user: str) -> dict[str, Any]:
    return {"messages": [say("system", system), say("user", user)]}


def test_blocks_end_at_fixed_places_that_grow_apart() -> None:
    assert ENDS[:3] == (512, 1024, 1536)
    assert ENDS[7:10] == (4096, 5120, 6144)
    assert ENDS[-1] == 512 * 8 * 1023
    assert len([end for end in ENDS if end <= 32 * 1024]) == 25
    # The part of a prompt that no whole block covers, from the end of the first group on.
    assert all((after - before) / before <= 1 / 4 for before, after in pairwise(ENDS[7:]))


@given(st.binary(max_size=20_000), st.binary(max_size=3000), st.binary(max_size=3000))
def test_blocks_are_equal_as_far_as_the_text_is(common: bytes, one: bytes, other: bytes) -> None:
    first, second = Prompt(common + one, 0), Prompt(common + other, 0)
    equal = len(common)
    while equal < min(len(first.text), len(second.text)) and first.text[equal] == second.text[equal]:
        equal += 1
    left, right = first.block_hashes("m"), second.block_hashes("m")
    same = sum(a == b for a, b in zip(left, right, strict=False))
    assert left[:same] == right[:same]
    assert same == sum(end <= equal for end in ENDS[: min(len(left), len(right))])
    assert [length_of(block) for block in left] == list(ENDS[: len(left)])
    assert sum(map(size_of, left)) == (ENDS[len(left) - 1] if left else 0)


@given(st.binary(min_size=512, max_size=3000), st.data())
def test_prompts_that_differ_in_one_byte_have_other_blocks_from_there_on(text: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, 511))
    other = text[:at] + bytes([text[at] ^ data.draw(st.integers(1, 255))]) + text[at + 1 :]
    left, right = Prompt(text, 0).block_hashes("m"), Prompt(other, 0).block_hashes("m")
    assert left
    assert not set(left) & set(right)


def test_hashes_are_spread_over_all_their_bits() -> None:
    hashes = [one for number in range(2000) for one in Prompt(b"%512d" % number, 0).block_hashes("m")]
    assert len(set(hashes)) == 2000
    for bit in range(7, 64):
        assert 0.4 < sum(one >> bit & 1 for one in hashes) / len(hashes) < 0.6


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ({"prompt": LONG + "a"}, {"prompt": LONG + "b"}, True),
        ({"prompt": "a" + LONG}, {"prompt": "b" + LONG}, False),
        ({"messages": [say("user", "x")]}, {"messages": [say("user", "x"), say("assistant", "y")]}, True),
        (chat(LONG, "x"), chat(LONG, "y"), False),
        (chat(LONG, LONG + "x"), chat(LONG, LONG), False),
        ({"instructions": "a", "input": "x"}, {"instructions": "b", "input": "x"}, False),
        ({"input": [{"role": "user", "content": "x"}]}, {"messages": [say("user", "x")]}, True),
    ],
)
def test_a_conversation_has_one_key_by_both_ends_of_its_opening(one: Any, other: Any, is_same: bool) -> None:
    keys = [opening_key(msgspec.convert(body, PromptFields), "m") for body in (one, other)]
    assert None not in keys
    assert (keys[0] == keys[1]) is is_same
    assert opening_key(msgspec.convert(one, PromptFields), "n") not in keys


@pytest.mark.parametrize("body", [{}, {"messages": []}, {"prompt": ""}, {"input": []}])
def test_without_a_prompt_there_is_no_key(body: Any) -> None:
    assert opening_key(msgspec.convert(body, PromptFields), "m") is None


def test_another_model_has_other_blocks() -> None:
    one = prompt({"prompt": LONG})
    assert not set(one.block_hashes("a")) & set(one.block_hashes("b"))
    assert one.opening_hash("a", one.block_hashes("a")) != one.opening_hash("b", one.block_hashes("b"))


def test_the_next_turn_of_a_conversation_begins_with_this_one() -> None:
    turns = [say("system", "be nice"), say("user", LONG), say("assistant", LONG), say("user", "and then?")]
    first, second = prompt({"messages": turns[:2]}), prompt({"messages": turns})
    assert second.text.startswith(first.text)
    assert second.opening == first.opening == len(first.text)
    blocks = first.block_hashes("m")
    assert second.block_hashes("m")[: len(blocks)] == blocks
    assert first.opening_hash("m", blocks) == second.opening_hash("m", second.block_hashes("m"))


@pytest.mark.parametrize("opening", [0, 1, 511, 512, 513, 5000, 8192, 9000])
def test_the_opening_is_told_by_its_own_bytes_alone(opening: int) -> None:
    text = (LONG * 3).encode()
    hashes = {
        Prompt(body, opening).opening_hash("m", Prompt(body, opening).block_hashes("m"))
        for body in (text, text[:opening] + b"other" * 4000)
    }
    assert len(hashes) == 1
    changed = bytearray(text)
    if opening:
        changed[opening - 1] ^= 1
        other = Prompt(bytes(changed), opening)
        assert other.opening_hash("m", other.block_hashes("m")) not in hashes


def test_how_the_json_is_written_does_not_count() -> None:
    body = {"model": "m", "messages": [say("user", "Grüße \U0001f600"), say("assistant", "hi")]}
    reordered = {"messages": [{"content": m["content"], "role": m["role"]} for m in body["messages"]]}  # type: ignore[index]
    texts = {prompt(body).text, prompt(body, indent=2, ensure_ascii=False).text, prompt(reordered).text}
    assert len(texts) == 1


def test_parts_of_text_count_as_their_text_and_others_by_their_digest() -> None:
    plain = prompt({"messages": [say("user", "look here")]})
    parts = prompt({"messages": [say("user", [{"type": "text", "text": "look "}, {"type": "text", "text": "here"}])]})
    assert parts.text == plain.text
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    with_picture = prompt({"messages": [say("user", [{"type": "text", "text": "look here"}, picture])]})
    assert with_picture.text.startswith(plain.text)
    assert len(with_picture.text) == len(plain.text) + 32
    picture["image_url"]["url"] += "B"  # type: ignore[index]
    assert prompt({"messages": [say("user", [{"type": "text", "text": "look here"}, picture])]}).text != (
        with_picture.text
    )


def test_tools_and_system_texts_come_first_and_tool_calls_count() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    base = prompt({"messages": [say("user", "x")]}).text
    assert prompt({"messages": [say("user", "x")], "tools": [tool]}).text.endswith(base)
    assert prompt({"messages": [say("user", "x")], "tools": [tool]}).text != base
    system = [{"type": "text", "text": "be nice", "cache_control": {"type": "ephemeral"}}]
    assert prompt({"messages": [say("user", "x")], "system": system}).text == b"\x02be nice" + base
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    assert (
        prompt({"messages": [say("user", "x"), call]}).text
        != prompt({"messages": [say("user", "x"), say("assistant", None)]}).text
    )


def test_responses_are_read_as_the_conversations_they_are() -> None:
    chat = prompt({"messages": [say("user", "a"), say("assistant", "b")]})
    items = [say("user", [{"type": "input_text", "text": "a"}]), say("assistant", "b")]
    assert prompt({"input": items}).text == chat.text
    call = {"type": "function_call", "name": "f", "arguments": "{}"}
    assert prompt({"input": [*items, call]}).text.startswith(chat.text)
    assert prompt({"input": "just text", "instructions": "be nice"}).text == b"\x02be nicejust text"


def test_completions_may_be_texts_or_token_ids() -> None:
    assert prompt({"prompt": "abc"}).text == b"abc"
    assert prompt({"prompt": ["abc", "def"]}).text == b"abc"
    assert prompt({"prompt": [1, 2]}).text == prompt({"prompt": [[1, 2], [3]]}).text == b"\1\0\0\0\2\0\0\0"
    assert prompt({"prompt": LONG}).opening == 4096
    assert prompt({"input": ["an", "embedding"]}).text == b"an"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe{",
        b"{}",
        b'{"messages": []}',
        b'{"messages": 5}',
        b'{"prompt": ""}',
        b'{"prompt": []}',
        b'{"prompt": 5}',
        b'{"prompt": [[[1]]]}',
        b'{"prompt": [-1]}',
        b'{"prompt": [1, "a"]}',
        b'{"prompt": [99999999999999]}',
        b'{"messages": [{"role": 7}]}',
        b'{"input": {"a": 1}}',
        b'{"prompt": [null]}',
        b"[" * 5000,
    ],
)
def test_what_holds_no_prompt_yields_none(body: bytes) -> None:
    assert read_prompt(body) is None


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=8))
def test_nothing_in_a_bodys_place_makes_it_fail(value: Any) -> None:
    for key in ("messages", "prompt", "input", "system", "tools", "instructions"):
        body = {"messages": [say("user", "x")]} | {key: value}
        read_prompt(json.dumps(body).encode("utf-8", "surrogatepass"))
        read_prompt(json.dumps({"messages": [say("user", value)]}).encode())
        read_prompt(json.dumps({"input": [say("user", value), value]}).encode())
