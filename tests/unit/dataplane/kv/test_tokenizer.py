from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from controlplane.sim import tokenizer as simulated
from dataplane.kv.chat_template import ChatTemplate
from dataplane.kv.conversations import UnreadableError
from dataplane.kv.tokenizer import MOST_TEXT, ModelTokenizer, TokenizerError
from tests.sim_tokenizer import write_tokenizer

TEXT = "The quick brown fox jumps over 13 lazy dogs."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tokenizer(tmp_path / "model", [TEXT, "fox"])


def test_texts_and_chats_have_the_engines_token_ids(folder: Path) -> None:
    made = ModelTokenizer(str(folder))
    assert made.of_text(TEXT, add_special_tokens=True) == simulated.encode(TEXT)
    messages = [{"role": "system", "content": TEXT}, {"role": "user", "content": "fox"}]
    ids = made.of_chat(messages, None, {"add_generation_prompt": True}, special=False)
    assert ids == simulated.chat([("system", TEXT), ("user", "fox")])


def test_only_the_beginning_of_a_long_text_is_read(folder: Path) -> None:
    made = ModelTokenizer(str(folder))
    assert len(made.of_text("." * (MOST_TEXT + 500), add_special_tokens=True)) == MOST_TEXT


@pytest.mark.parametrize("name", ["chat_template.jinja", "chat_template.json"])
def test_the_template_may_have_a_file_of_its_own(folder: Path, name: str) -> None:
    (folder / "tokenizer_config.json").unlink()
    template = "{{ messages[0].content }}"
    (folder / name).write_text(json.dumps({"chat_template": template}) if name.endswith("json") else template)
    made = ModelTokenizer(str(folder))
    assert made.of_chat([{"role": "user", "content": "fox"}], None, {}, special=False) == simulated.encode("fox")


def test_of_several_templates_the_default_one_is_taken(folder: Path) -> None:
    templates = [{"name": "tools", "template": "no"}, {"name": "default", "template": "{{ eos_token }}fox"}]
    config = {"chat_template": templates, "eos_token": {"content": "<|im_end|>"}, "bos_token": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    ids = ModelTokenizer(str(folder)).of_chat([], None, {}, special=False)
    assert ids == [simulated.IM_END, *simulated.encode("fox")]


def test_without_a_template_chats_can_not_be_read(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(UnreadableError, match="no chat template"):
        ModelTokenizer(str(folder)).of_chat([], None, {}, special=False)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer.json", "{}"),
        ("tokenizer_config.json", "{"),
        ("tokenizer_config.json", "[]"),
        ("chat_template.jinja", "{% for %}"),
    ],
)
def test_a_folder_that_can_not_be_used_says_which_file(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(TokenizerError, match=str(folder)):
        ModelTokenizer(str(folder))


def rendered(source: str, *messages: dict[str, Any], **more: Any) -> str:
    return ChatTemplate(source, {"bos_token": "<s>"}).render(messages, more.pop("tools", None), more)


def test_templates_have_what_vllm_gives_them() -> None:
    assert rendered("{{ bos_token }}{{ documents }}{{ x }}", x=5) == "<s>None5"
    assert rendered("{{ tools | tojson }}", tools=[{"a": "ä"}]) == '[{"a": "ä"}]'
    assert rendered("{% if tools %}no{% endif %}", tools=[]) == ""
    assert rendered("{% for m in messages %}{% break %}{% endfor %}", {"role": "user"}) == ""
    assert len(rendered("{{ strftime_now('%Y') }}")) == 4


def test_parts_become_a_text_where_a_template_wants_one() -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    assert rendered("{{ messages[0].content }}", parts) == "a\nb"
    walk = "{% for m in messages %}{% for part in m['content'] %}[{{ part.text }}]{% endfor %}{% endfor %}"
    assert rendered(walk, parts) == "[a][b]"
    assert rendered(walk, {"role": "user", "content": "a"}) == "[a]"


def test_the_arguments_of_tools_are_values() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": '{"x": [1]}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    assert rendered("{{ messages[0].tool_calls[0].function.arguments.x[0] }}", message) == "1"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ messages[0].content }}", {"content": [{"type": "image_url", "image_url": {}}]}),
        ("{{ raise_exception('roles must alternate') }}", {}),
        ("{{ messages[0].content + 1 }}", {"content": "x"}),
        ("{{ messages[0].tool_calls }}", {"tool_calls": [{"function": {"arguments": "{"}}]}),
        ("{{ messages.append(1) }}", {}),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", {}),
        ("{{ 1 // (messages | length - 1) }}", {}),
        ("{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}", {}),
    ],
    ids=["image", "refused", "type", "arguments", "changes", "sandbox", "division", "recursion"],
)
def test_what_can_not_be_rendered_is_unreadable(source: str, message: dict[str, Any]) -> None:
    with pytest.raises(UnreadableError):
        rendered(source, message)
