"""What an answer says it took is read from its end, and only where it is there."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.usage import TAIL, Usage, usage_of

DONE = b"data: [DONE]\n\n"


def event(text: str) -> bytes:
    return f'data: {{"id":"x","choices":[],{text}}}\n\n'.encode()


@pytest.mark.parametrize(
    ("before", "last", "expected"),
    [
        # vLLM 0.32's own shapes.
        (
            b"",
            b'{"id":"c","choices":[{"text":"a"}],"usage":{"prompt_tokens":13,"total_tokens":19,"completion_tokens":6,'
            b'"prompt_tokens_details":null},"prompt_logprobs":null,"kv_transfer_params":null}',
            Usage(13, 6, None),
        ),
        (
            event('"usage":{"prompt_tokens":13,"total_tokens":19,"completion_tokens":6}'),
            DONE,
            Usage(13, 6, None),
        ),
        (
            b"",
            b'{"text":null,"usage":{"input_tokens":12,"input_tokens_details":{"cached_tokens":8,"cache_write_tokens":0,'
            b'"input_tokens_per_turn":[],"cached_tokens_per_turn":[]},"output_tokens":8,"output_tokens_details":'
            b'{"reasoning_tokens":0},"total_tokens":20},"user":null}',
            Usage(12, 8, 8),
        ),
        (
            b'event: message_delta\ndata: {"delta":{},"usage":{"input_tokens":12,"output_tokens":4}}\n\n',
            b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
            Usage(12, 4, None),
        ),
        # None of them was cached, by the engine's word.
        (
            b"",
            b'{"usage":{"prompt_tokens":13,"completion_tokens":6,"prompt_tokens_details":{"cached_tokens":0}}}',
            Usage(13, 6, 0),
        ),
        # Embeddings have no output; other servers write spaces.
        (b"", b'{"data":[],"usage": {"prompt_tokens": 5, "total_tokens": 5}}', Usage(5, 0, None)),
        # Usage and the last event in one part.
        (b"", event('"usage":{"prompt_tokens":1,"completion_tokens":2}') + DONE, Usage(1, 2, None)),
    ],
)
def test_it_is_found(before: bytes, last: bytes, expected: Usage) -> None:
    assert usage_of(before, last) == expected


@pytest.mark.parametrize(
    "last",
    [
        b"",
        b"pong",
        b'{"choices":[],"usage":null,"other":{"prompt_tokens":1}}',
        b'{"usage":{"prompt_tokens":-1}}',
        b'{"usage":{"prompt_tokens":1e99}}',
        b'{"usage":{"prompt_tokens":"many"}}',
        b'{"usage":{"prompt_tokens":99999999999999999}}',
        b'{"usage":{"prompt_tokens":1',
        b'{"usage":{{{{{{{{{{{{',
        b'{"content":' + json.dumps('"usage":{"prompt_tokens":9}').encode() + b"}",
        b'{"usage":{"prompt_tokens":1}}' + b" " * TAIL,
    ],
)
def test_what_is_none_is_no_usage(last: bytes) -> None:
    assert usage_of(b"data: {}\n\n", last) is None


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_bytes_make_it_fail(before: bytes, last: bytes) -> None:
    usage_of(before, b'"usage":{' + last)
    usage_of(before + b'"usage":{', last)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=300), st.integers(0, 10**9), st.integers(0, 10**9))
def test_what_the_text_says_of_usage_does_not_count(text: str, prompt: int, output: int) -> None:
    body = json.dumps(
        {"choices": [{"text": text}], "usage": {"prompt_tokens": prompt, "completion_tokens": output}},
        separators=(",", ":"),
    )
    assert usage_of(b"", body.encode()) == Usage(prompt, output, None)
