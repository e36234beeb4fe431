"""A model's chat template: messages to the text that the engine reads, as vLLM renders it.

The template is the operator's, the messages are a client's: it runs in jinja2's sandbox. Of two things in which vLLM
depends on the template itself, one is followed (whether it walks over a message's parts, or wants a text), the other
is not: a template of the client's own is not taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from dataplane.kv.conversations import UnreadableError

# A client's messages may have anything where a template expects something.
_WHAT_TEMPLATES_RAISE = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


class ChatTemplate:
    """A compiled template; `special` are the names of special tokens that it may use, such as bos_token."""

    def __init__(self, source: str, special: Mapping[str, str]) -> None:
        """Raise jinja2.TemplateError for a template that is none."""
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = _now
        self._special = dict(special)
        self._walks_over_parts = _walks_over_parts(environment.parse(source))
        self._template = environment.from_string(source)
        self.system_first = self._refuses_later_systems()
        """Whether it takes no system message behind others."""

    def render(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None, more: Mapping[str, Any]
    ) -> str:
        """Return the prompt's text. `more` are variables for the template. Raises UnreadableError."""
        try:
            return self._template.render(
                **{
                    **self._special,
                    "documents": None,
                    **more,
                    "tools": tools or None,
                    "messages": [self._message(message) for message in messages],
                }
            )
        except _WHAT_TEMPLATES_RAISE as error:
            raise UnreadableError(f"the chat template: {error}") from error

    def _refuses_later_systems(self) -> bool:
        messages = [{"role": role, "content": "t"} for role in ("system", "user", "system", "user")]
        try:
            self.render(messages, None, {"add_generation_prompt": False})
        except UnreadableError:
            return True
        return False

    def _message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        content = message.get("content")
        if isinstance(content, list):
            texts = [_text_of(part) for part in content]
            parts = [{"type": "text", "text": text} for text in texts]
            return _plain({**message, "content": parts if self._walks_over_parts else "\n".join(texts)})
        if isinstance(content, str) and self._walks_over_parts:
            return _plain({**message, "content": [{"type": "text", "text": content}]})
        return _plain(message)


def _text_of(part: Any) -> str:
    if isinstance(part, str):
        return part
    text = part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else None
    if not isinstance(text, str):
        raise UnreadableError("a part of a message is no text")
    return text


def _plain(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message whose tools' arguments are values: so templates expect them."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return dict(message)
    return {**message, "tool_calls": [_with_arguments(call) for call in calls]}


def _with_arguments(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    return {**call, "function": {**function, "arguments": json.loads(function["arguments"] or "{}")}}


def _walks_over_parts(template: nodes.Template) -> bool:
    """Whether a loop of the template goes over something's `content`."""
    return any(
        (isinstance(loop.iter, nodes.Getattr) and loop.iter.attr == "content")
        or (
            isinstance(loop.iter, nodes.Getitem)
            and isinstance(loop.iter.arg, nodes.Const)
            and loop.iter.arg.value == "content"
        )
        for loop in template.find_all(nodes.For)
    )


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(reason: str) -> NoReturn:
    raise jinja2.TemplateError(reason)


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)
