"""Bodies of `/v1/responses` and `/v1/messages` as the chat that vLLM makes of them before it applies the template.

Pure. What vLLM 0.32 turns into messages is followed; what can not be followed for sure (images, what an earlier answer
holds, tools that are no functions) raises `UnreadableError`, which costs a cached prefix and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

_BILLING = "x-anthropic-billing-header"
"""Begins a text that a client puts before its system prompt, other for each request: vLLM takes it out."""


class UnreadableError(ValueError):
    """A prompt whose tokens can not be known here."""


class Conversation(NamedTuple):
    """A chat: its messages, the tools' schemas, and `more` variables for the template."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    more: dict[str, Any]


# --- /v1/responses -----------------------------------------------------------------------------------------


class _Reasoning(msgspec.Struct):
    effort: str | None = None


class ResponsesBody(msgspec.Struct):
    """What of a body makes its prompt."""

    input: str | list[dict[str, Any]] = ""
    instructions: str | None = None
    tools: list[dict[str, Any]] | None = None
    reasoning: _Reasoning | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    cache_salt: str | None = None
    previous_response_id: str | None = None
    previous_input_messages: Any = None
    prompt: Any = None


def of_responses(body: ResponsesBody) -> Conversation:
    """Return the chat. Raises UnreadableError."""
    if body.previous_response_id or body.previous_input_messages is not None or body.prompt is not None:
        raise UnreadableError("the conversation is not in the body alone")
    messages: list[dict[str, Any]] = []
    if body.instructions:
        messages.append({"role": "system", "content": body.instructions})
    if isinstance(body.input, str):
        messages.append({"role": "user", "content": body.input})
    else:
        for item in body.input:
            _add_item(item, messages)
        if body.input and body.input[-1].get("status") in ("in_progress", "incomplete"):
            raise UnreadableError("the last item is to be gone on with")
    tools = [*map(_responses_tool, body.tools or ())]
    effort = body.reasoning.effort if body.reasoning is not None else None
    return Conversation(messages, tools or None, template_variables(effort, body.chat_template_kwargs))


def template_variables(effort: str | None, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the template gets for an effort of reasoning, and what the client gives it."""
    variables: dict[str, Any] = {"add_generation_prompt": True}
    if effort is not None:
        variables |= {"reasoning_effort": effort, "enable_thinking": effort != "none"}
    return variables | dict(given or {})


def _add_item(item: Mapping[str, Any], messages: list[dict[str, Any]]) -> None:
    """Add an item to the chat. What an assistant says in several items is one message."""
    kind = item.get("type", "message")
    if kind == "message" and isinstance(item.get("role"), str):
        _add_message(item, messages)
    elif kind == "function_call":
        if item.get("namespace"):
            raise UnreadableError("a tool of a namespace was called")
        call = _call(item.get("call_id"), item.get("name"), item.get("arguments"))
        if messages and messages[-1]["role"] == "assistant":
            messages[-1].setdefault("tool_calls", []).append(call)
        else:
            messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
    elif kind == "function_call_output":
        output = item.get("output")
        if not isinstance(output, str):
            raise UnreadableError("a tool's output is no text")
        messages.append({"role": "tool", "content": output, "tool_call_id": item.get("call_id")})
    elif kind == "reasoning":
        _say(messages, "reasoning", _reasoning_of(item))
    else:
        raise UnreadableError(f"an item is a {kind}")


def _add_message(item: Mapping[str, Any], messages: list[dict[str, Any]]) -> None:
    role, content = item["role"], item.get("content")
    if role != "assistant":
        messages.append({"role": role, "content": content if isinstance(content, str) else _texts(content)})
        return
    if isinstance(content, list):
        # Of several parts vLLM takes the first.
        content = _texts(content[:1])[0]["text"] if content else ""
    if not isinstance(content, str):
        raise UnreadableError("what the assistant said is no text")
    _say(messages, "content", content)


def _say(messages: list[dict[str, Any]], what: str, text: str) -> None:
    """Let the assistant say or think something, in its last message if that has no such thing yet."""
    if not messages or messages[-1]["role"] != "assistant" or messages[-1].get(what):
        messages.append({"role": "assistant", "content": ""})
    messages[-1][what] = text
    if what == "reasoning":
        # Templates know it by either name.
        messages[-1]["reasoning_content"] = text


def _reasoning_of(item: Mapping[str, Any]) -> str:
    for part in (item.get("content") or item.get("summary") or ())[:1]:
        if isinstance(part, dict) and isinstance(text := part.get("text"), str) and not item.get("encrypted_content"):
            return text
    raise UnreadableError("a reasoning is not in the clear")


def _texts(content: Any) -> list[dict[str, str]]:
    if not isinstance(content, list):
        raise UnreadableError("a message has no content")
    return [_text(part) for part in content]


def _text(part: Any) -> dict[str, str]:
    if isinstance(part, dict) and part.get("type") in ("text", "input_text", "output_text"):
        text = part.get("text")
        if isinstance(text, str):
            return {"type": "text", "text": text}
    raise UnreadableError("a part of a message is no text")


def _responses_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise UnreadableError("a tool is no function")
    return _function(tool, tool.get("parameters"))


def _function(tool: Mapping[str, Any], parameters: Any) -> dict[str, Any]:
    """Return a tool in the order of keys that vLLM gives the template."""
    if tool.get("defer_loading"):
        raise UnreadableError("a tool is to be loaded later")
    function = {"name": tool.get("name"), "description": tool.get("description"), "parameters": parameters}
    if tool.get("strict") is not None:
        function["strict"] = tool["strict"]
    return {"type": "function", "function": function}


def _call(identifier: Any, name: Any, arguments: Any) -> dict[str, Any]:
    if not isinstance(name, str) or not isinstance(arguments, str):
        raise UnreadableError("a call of a tool has no name or no arguments")
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


# --- /v1/messages ------------------------------------------------------------------------------------------


class _Block(msgspec.Struct):
    type: str
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: str | list[dict[str, Any]] | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Block]


class _Kind(msgspec.Struct):
    type: str | None = None


class _Output(msgspec.Struct):
    effort: str | None = None


class MessagesBody(msgspec.Struct):
    """What of a body makes its prompt."""

    messages: list[_Message] = []
    system: str | list[_Block] | None = None
    tools: list[dict[str, Any]] | None = None
    thinking: _Kind | None = None
    output_config: _Output | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    cache_salt: str | None = None


def of_messages(body: MessagesBody, *, system_first: bool) -> Conversation:
    """Return the chat. Raises UnreadableError.

    `system_first`: the template takes no system message behind others, so all of them are one at the beginning.
    """
    inline = [message for message in body.messages if message.role == "system"] if system_first else []
    standing = "".join((_system(body.system), *(_system(message.content) for message in inline)))
    messages: list[dict[str, Any]] = [{"role": "system", "content": standing}] if standing else []
    for message in body.messages:
        if message.role != "system":
            messages += _chat_messages(message)
        elif not system_first and (text := _system(message.content)):
            messages.append({"role": "system", "content": text})
    if not messages:
        raise UnreadableError("there is no message")
    effort = body.output_config.effort if body.output_config is not None else None
    if body.thinking is not None and body.thinking.type == "disabled":
        # What vLLM makes of it depends on how it was started.
        raise UnreadableError("thinking is switched off")
    tools = [*map(_messages_tool, body.tools or ())]
    return Conversation(messages, tools or None, template_variables(effort, body.chat_template_kwargs))


def _system(content: str | list[_Block] | None) -> str:
    if isinstance(content, str):
        return "" if content.startswith(_BILLING) else content
    if any(block.type != "text" for block in content or ()):
        raise UnreadableError("a system message changes the tools")
    return "".join(block.text for block in content or () if block.text and not block.text.startswith(_BILLING))


def _chat_messages(message: _Message) -> Iterator[dict[str, Any]]:
    """Yield a message; what tools returned comes before the user's words beside it."""
    if isinstance(message.content, str):
        yield {"role": message.role, "content": message.content}
        return
    texts, calls, thoughts = [], [], []
    for block in message.content:
        if block.type == "text":
            if block.text:
                texts.append(block.text)
        elif block.type == "thinking" and block.thinking is not None:
            thoughts.append(block.thinking)
        elif block.type == "tool_use":
            calls.append(_call(block.id, block.name, json.dumps(block.input or {})))
        elif block.type == "tool_result" and message.role == "user":
            yield {"role": "tool", "tool_call_id": block.tool_use_id or "", "content": _result(block.content)}
        elif block.type != "redacted_thinking":
            raise UnreadableError(f"a part of a message is a {block.type}")
    said: dict[str, Any] = {"role": message.role, "content": _content(texts)}
    if thoughts:
        said["reasoning"] = said["reasoning_content"] = "".join(thoughts)
    if calls:
        said["tool_calls"] = calls
    if texts or message.role != "user":
        yield said


def _content(texts: list[str]) -> str | list[dict[str, str]]:
    if len(texts) > 1:
        return [{"type": "text", "text": text} for text in texts]
    return texts[0] if texts else ""


def _result(content: str | Iterable[Mapping[str, Any]] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(_text(part)["text"] for part in content)


def _messages_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    schema = tool.get("input_schema")
    if not isinstance(schema, dict):
        raise UnreadableError("a tool has no schema")
    return _function(tool, schema if "type" in schema else {**schema, "type": "object"})
