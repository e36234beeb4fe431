"""Bodies of /v1/responses and /v1/messages as the chats that vLLM 0.32 makes of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dataplane.kv.conversations import (
    Conversation,
    MessagesBody,
    ResponsesBody,
    UnreadableError,
    of_messages,
    of_responses,
)

SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": "1"}'}}
IMAGE = {"type": "image", "source": {"type": "url", "url": "http://a/b.png"}}


def responses(**body: Any) -> Conversation:
    return of_responses(msgspec.convert({"model": "m", **body}, ResponsesBody))


def messages(*said: Any, system_first: bool = False, **body: Any) -> Conversation:
    return of_messages(msgspec.convert({"messages": list(said), **body}, MessagesBody), system_first=system_first)


def part(text: str, kind: str = "text") -> dict[str, str]:
    return {"type": kind, "text": text}


# --- /v1/responses -----------------------------------------------------------------------------------------


def test_a_response_to_a_text_is_a_chat_with_its_instructions() -> None:
    assert responses(input="hello", instructions="be good") == Conversation(
        [{"role": "system", "content": "be good"}, {"role": "user", "content": "hello"}],
        None,
        {"add_generation_prompt": True},
    )


def test_items_are_messages_and_their_parts_are_texts() -> None:
    items = [
        {"role": "developer", "content": "short"},
        {"type": "message", "role": "user", "content": [part("a", "input_text"), part("b", "input_text")]},
        {
            "type": "message",
            "id": "1",
            "role": "assistant",
            "content": [part("c", "output_text")],
        },
        {"role": "assistant", "content": "d"},
    ]
    assert responses(input=items).messages == [
        {"role": "developer", "content": "short"},
        {"role": "user", "content": [part("a"), part("b")]},
        {"role": "assistant", "content": "c"},
        {"role": "assistant", "content": "d"},
    ]


def test_what_an_assistant_thinks_says_and_calls_is_one_message() -> None:
    items = [
        {"role": "user", "content": "x"},
        {"type": "reasoning", "summary": [], "content": [part("hm", "reasoning_text")]},
        {"role": "assistant", "content": "let me see"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"x": "1"}'},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"x": "1"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "42"},
    ]
    assert responses(input=items).messages == [
        {"role": "user", "content": "x"},
        {
            "role": "assistant",
            "content": "let me see",
            "reasoning": "hm",
            "reasoning_content": "hm",
            "tool_calls": [CALL, CALL],
        },
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
    ]
    assert responses(input=items[3:4]).messages == [{"role": "assistant", "content": "", "tool_calls": [CALL]}]


def test_tools_have_vllms_order_of_keys() -> None:
    flat = {"parameters": SCHEMA, "type": "function", "strict": None, "description": "d", "name": "f"}
    tools = responses(input="x", tools=[flat, {**flat, "strict": True}]).tools
    assert tools is not None
    assert msgspec.json.encode(tools[0]) == msgspec.json.encode(TOOL)
    assert [*tools[1]["function"]] == ["name", "description", "parameters", "strict"]


def test_a_schema_without_a_type_is_an_object() -> None:
    tools = messages({"role": "user", "content": "x"}, tools=[{"name": "f", "input_schema": {"properties": {}}}]).tools
    assert tools is not None
    assert tools[0]["function"]["parameters"] == {"properties": {}, "type": "object"}


def test_an_effort_of_reasoning_switches_thinking() -> None:
    assert responses(input="x", reasoning={"effort": "none"}).more == {
        "add_generation_prompt": True,
        "reasoning_effort": "none",
        "enable_thinking": False,
    }
    more = responses(input="x", reasoning={"effort": "low"}, chat_template_kwargs={"enable_thinking": False}).more
    assert more["enable_thinking"] is False


@pytest.mark.parametrize(
    "body",
    [
        {"input": "x", "previous_response_id": "resp_1"},
        {"input": "x", "prompt": {"id": "pmpt_1"}},
        {"input": "x", "previous_input_messages": []},
        {"input": "x", "tools": [{"type": "web_search"}]},
        {"input": "x", "tools": [{"type": "function", "name": "f", "defer_loading": True}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": 5}]}]},
        {"input": [{"role": "user"}]},
        {"input": [{"role": "assistant", "content": 5}]},
        {"input": [{"role": "assistant", "content": "half", "status": "incomplete"}]},
        {"input": [{"type": "reasoning", "summary": [], "encrypted_content": "x"}]},
        {"input": [{"type": "function_call", "name": "f", "arguments": "{}", "namespace": "n"}]},
        {"input": [{"type": "function_call", "name": "f"}]},
        {"input": [{"type": "function_call_output", "output": [part("x", "input_text")]}]},
        {"input": [{"type": "item_reference", "id": "1"}]},
    ],
)
def test_what_can_not_be_followed_for_sure_is_not_read(body: dict[str, Any]) -> None:
    with pytest.raises(UnreadableError):
        responses(**body)


# --- /v1/messages ------------------------------------------------------------------------------------------


def test_a_message_is_a_chat_with_its_system() -> None:
    system = [part("x-anthropic-billing-header: 1"), part("be "), part("good")]
    assert messages({"role": "user", "content": "hello"}, system=system) == Conversation(
        [{"role": "system", "content": "be good"}, {"role": "user", "content": "hello"}],
        None,
        {"add_generation_prompt": True},
    )


def test_results_of_tools_come_before_the_words_beside_them() -> None:
    chat = messages(
        {"role": "user", "content": [part("a"), part("")]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "tool_use", "id": "c1", "name": "f", "input": {"x": "1"}},
            ],
        },
        {
            "role": "user",
            "content": [
                part("and now?"),
                {"type": "tool_result", "tool_use_id": "c1", "content": [part("4"), part("2")]},
                part("quick"),
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c2", "content": "7"}]},
        tools=[
            {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": SCHEMA["properties"]}}
        ],
    )
    assert chat.messages == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "", "reasoning": "hm", "reasoning_content": "hm", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "4\n2"},
        {"role": "user", "content": [part("and now?"), part("quick")]},
        {"role": "tool", "tool_call_id": "c2", "content": "7"},
    ]
    assert msgspec.json.encode(chat.tools) == msgspec.json.encode([TOOL])


@pytest.mark.parametrize(("system_first", "roles"), [(False, ["user", "system"]), (True, ["system", "user"])])
def test_system_messages_within_stay_where_the_template_takes_them(system_first: bool, roles: list[str]) -> None:
    said = ({"role": "user", "content": "a"}, {"role": "system", "content": "b"}, {"role": "system", "content": ""})
    assert [one["role"] for one in messages(*said, system_first=system_first).messages] == roles


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": [{"role": "user", "content": [part("a"), IMAGE]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [IMAGE]}]}]},
        {"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "c"}]}]},
        {"messages": [{"role": "assistant", "content": [{"type": "tool_result", "content": "x"}]}]},
        {"messages": [{"role": "system", "content": [{"type": "tool_removal"}]}]},
        {"messages": [{"role": "user", "content": "x"}], "thinking": {"type": "disabled"}},
        {"messages": [{"role": "user", "content": "x"}], "tools": [{"name": "f"}]},
    ],
)
def test_what_of_messages_can_not_be_followed_is_not_read(body: dict[str, Any]) -> None:
    with pytest.raises(UnreadableError):
        of_messages(msgspec.convert(body, MessagesBody), system_first=False)
