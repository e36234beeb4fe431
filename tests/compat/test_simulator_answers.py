"""The simulator's answers have the form of vLLM's recorded ones: same headers, keys, order and framing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from controlplane.sim import SimConfig
from tests.unit.controlplane.sim.client import Client, run, simulator

CAPTURES = Path(__file__).parent / "captures"
CONFIG = SimConfig(port=0, time_scale=0, models=("tiny",), max_model_len=2048)
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
COMPLETION = {"model": "tiny", "prompt": "Hello there"}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
LOAD = {"endpoint-load-metrics-format": "TEXT"}


def recorded(name: str) -> bytes:
    return (CAPTURES / f"{name}.http").read_bytes()


async def simulated(method: str, target: str, body: Any = b"", headers: dict[str, str] | None = None) -> bytes:
    async with simulator(CONFIG) as [url]:
        client = await Client.to(url)
        client.send(method, target, body, {**(headers or {}), "connection": "close"})
        raw = await client.reader.read()
        await client.close()
        return raw.replace(b"connection: close\r\n", b"", 1)


def head_of(raw: bytes) -> list[str]:
    """The head's lines, without values that differ from answer to answer."""
    lines = raw.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return [re.sub(r"^(date|content-length): .*", r"\1", line) for line in lines]


def shape(value: Any) -> Any:
    """A JSON value with its keys in order and its leaves replaced by their types."""
    if isinstance(value, dict):
        return [(key, shape(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__


def chunks_of(raw: bytes) -> list[bytes]:
    body = raw.partition(b"\r\n\r\n")[2]
    chunks: list[bytes] = []
    while True:
        size, _, rest = body.partition(b"\r\n")
        assert re.fullmatch(rb"0|[1-9a-f][0-9a-f]*", size)
        chunk, body = rest[: int(size, 16)], rest[int(size, 16) :]
        assert body.startswith(b"\r\n")
        body = body[2:]
        if not chunk:
            assert body == b""
            return chunks
        chunks.append(chunk)


def events_of(raw: bytes) -> list[Any]:
    """The shape of each event; each chunk holds exactly one."""
    events: list[Any] = []
    for chunk in chunks_of(raw):
        assert re.fullmatch(rb"data: [^\n]+\n\n", chunk)
        data = chunk[6:-2]
        events.append("[DONE]" if data == b"[DONE]" else shape(json.loads(data)))
        if data != b"[DONE]":
            assert data == compact(json.loads(data))
    return events


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("name", "method", "target", "body"),
    [
        ("error_bad_json", "POST", "/v1/chat/completions", b'{"model":'),
        ("error_missing_field", "POST", "/v1/chat/completions", {"model": "tiny"}),
        ("error_too_long", "POST", "/v1/completions", {"model": "tiny", "prompt": [5] * 3000}),
        ("error_unknown_model", "POST", "/v1/chat/completions", {**CHAT, "model": "nope"}),
        ("error_not_found", "GET", "/nope", b""),
        ("error_method", "GET", "/v1/chat/completions", b""),
        ("get_health", "GET", "/health", b""),
        ("get_health", "GET", "/ping", b""),
        ("get_health", "POST", "/ping", b""),
        ("get_load", "GET", "/load", b""),
        ("get_version", "GET", "/version", b""),
    ],
)
def test_answers_that_are_the_same_to_the_byte(name: str, method: str, target: str, body: Any) -> None:
    async def main() -> None:
        ours, theirs = await simulated(method, target, body), recorded(name)
        undated = [re.sub(rb"\r\ndate: [^\r]+", b"\r\ndate", raw) for raw in (ours, theirs)]
        assert undated[0] == undated[1]

    run(main())


@pytest.mark.parametrize(
    ("name", "method", "target", "body", "headers"),
    [
        ("chat", "POST", "/v1/chat/completions", {**CHAT, "max_tokens": 8}, {}),
        ("completion", "POST", "/v1/completions", {**COMPLETION, "max_tokens": 8}, {}),
        ("completion_load_header", "POST", "/v1/completions", {**COMPLETION, "max_tokens": 2}, LOAD),
        ("responses", "POST", "/v1/responses", {"model": "tiny", "input": "Hi there", "max_output_tokens": 8}, {}),
        ("messages", "POST", "/v1/messages", {**CHAT, "max_tokens": 8}, {}),
        ("get_models", "GET", "/v1/models", b"", {}),
        ("tokenize", "POST", "/tokenize", {"model": "tiny", "prompt": "a b c"}, {}),
    ],
)
def test_json_answers(name: str, method: str, target: str, body: Any, headers: dict[str, str]) -> None:
    async def main() -> None:
        ours, theirs = await simulated(method, target, body, headers), recorded(name)
        lines = head_of(ours)
        if name == "get_models":  # the recording lost this line with its shortened path
            lines.remove("content-length")
        assert lines == head_of(theirs)
        our_json, their_json = (raw.partition(b"\r\n\r\n")[2] for raw in (ours, theirs))
        if name == "tokenize":  # how many tokens a text has is the tokenizer's business
            assert list(json.loads(our_json)) == list(json.loads(their_json))
        else:
            assert shape(json.loads(our_json)) == shape(json.loads(their_json))
        assert our_json == compact(json.loads(our_json))

    run(main())


@pytest.mark.parametrize(
    ("name", "target", "body", "headers"),
    [
        ("chat_stream", "/v1/chat/completions", {**CHAT, **USAGE, "max_tokens": 6}, {}),
        ("chat_stream_load_header", "/v1/chat/completions", {**CHAT, "stream": True, "max_tokens": 2}, LOAD),
        ("completion_stream", "/v1/completions", {**COMPLETION, "stream": True, "max_tokens": 6}, {}),
        (
            "completion_stream_rid",
            "/v1/completions",
            {**COMPLETION, "stream": True, "max_tokens": 2},
            {"X-Request-Id": "my-id-1"},
        ),
    ],
)
def test_streams(name: str, target: str, body: Any, headers: dict[str, str]) -> None:
    async def main() -> None:
        ours, theirs = await simulated("POST", target, body, headers), recorded(name)
        assert head_of(ours) == head_of(theirs)
        assert events_of(ours) == events_of(theirs)
        if name == "completion_stream_rid":
            assert b'"id":"cmpl-my-id-1"' in chunks_of(ours)[0]

    run(main())


def named_events_of(raw: bytes) -> list[Any]:
    """Name and shape of each event; each chunk holds exactly one."""
    events: list[Any] = []
    for chunk in chunks_of(raw):
        found = re.fullmatch(rb"event: ([^\n]+)\ndata: ([^\n]+)\n\n", chunk)
        assert found is not None
        assert found[2] == compact(json.loads(found[2]))
        events.append((found[1], shape(json.loads(found[2]))))
    return events


def test_a_stream_of_messages() -> None:
    async def main() -> None:
        ours = await simulated("POST", "/v1/messages", {**CHAT, "stream": True, "max_tokens": 2})
        theirs = recorded("messages_stream")
        assert head_of(ours) == head_of(theirs)
        assert named_events_of(ours) == named_events_of(theirs)

    run(main())


def test_a_stream_of_a_response_begins_as_vllms() -> None:
    async def main() -> None:
        asked = {"model": "tiny", "input": "Hi", "stream": True, "max_output_tokens": 4, "temperature": 0}
        ours = await simulated("POST", "/v1/responses", asked)
        theirs = recorded("not_fetched_responses_stream").replace(b"connection: close\r\n", b"", 1) + b"0\r\n\r\n"
        assert head_of(ours) == head_of(theirs)
        assert named_events_of(ours)[:2] == named_events_of(theirs)
        assert named_events_of(ours)[-1][0] == b"response.completed"

    run(main())


def samples(page: str) -> list[str]:
    """The page's lines for vLLM's own families, without values."""
    lines = [line for line in page.split("\n") if line.startswith(("vllm:", "# HELP vllm:", "# TYPE vllm:"))]
    return [line if line.startswith("#") else line.rsplit(" ", 1)[0] for line in lines]


def test_metrics_have_the_same_families_labels_and_buckets_in_the_same_order() -> None:
    async def main() -> None:
        ours, theirs = await simulated("GET", "/metrics"), recorded("metrics")
        assert head_of(ours) == head_of(theirs)
        ours_text, theirs_text = (raw.partition(b"\r\n\r\n")[2].decode() for raw in (ours, theirs))
        # The labels of the cache's description have values that differ; their names must not.
        names = [
            re.sub(r'="[^"]*"', "", line) if line.startswith("vllm:cache_config_info") else line
            for text in (ours_text, theirs_text)
            for line in samples(text)
        ]
        assert names[: len(names) // 2] == names[len(names) // 2 :]
        # By it a router sees a restart; it is no family of vLLM's own.
        heads = [
            [line.rsplit(" ", 1)[0] for line in text.split("\n") if "process_start_time_seconds" in line]
            for text in (ours_text, theirs_text)
        ]
        assert heads[0] == heads[1]

    run(main())
