"""Which parts of a stream say nothing yet."""

from __future__ import annotations

import pytest

from dataplane.preamble import is_preamble

ROLE = b'data: {"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null}]}\n\n'


@pytest.mark.parametrize(
    "part",
    [
        ROLE,
        b'event: message_start\ndata: {"type":"message_start","message":{"content":[]}}\n\n',
        b'event: response.created\ndata: {"response":{}}\n\n',
        b'event: response.in_progress\ndata: {"response":{}}\n\n',
    ],
)
def test_one_event_before_the_answer(part: bytes) -> None:
    assert is_preamble(part)
    # Not when a token came with it, or when it did not come whole.
    assert not is_preamble(part + part)
    assert not is_preamble(part[:-1])


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b": keep-alive\n\n",
        b"data: [DONE]\n\n",
        ROLE.replace(b'"content":""', b'"content":"Hello"'),
        b'data: {"choices":[{"text":"\\"delta\\":{\\"role\\":\\"assistant\\",\\"content\\":\\"\\""}]}\n\n',
        b'data: {"error": {"message": "no"}}\n\n',
        b"event: response.output_text.delta\ndata: {}\n\n",
        b'event: content_block_start\ndata: {"content_block":{"type":"text","text":""}}\n\n',
        b'{"choices":[{"delta":{"role":"assistant","content":""}}]}',
    ],
)
def test_what_belongs_to_an_answer(part: bytes) -> None:
    assert not is_preamble(part)
