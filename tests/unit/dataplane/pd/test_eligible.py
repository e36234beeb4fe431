"""What two workers may share, and what one does as a whole."""

from __future__ import annotations

import pytest

from dataplane.pd.eligible import can_be_disaggregated, tokens_before_first_byte

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (COMPLETIONS, b'{"prompt": "x", "n": 1, "stream": true}'),
        (COMPLETIONS, b' {"prompt" : [ 1, 2], "unknown": {"n": 5}}'),
        (CHAT, b'{"messages": [], "n": null, "logprobs": true, "echo": false}'),
        ("/v1/messages", b'{"max_tokens": 5, "messages": []}'),
        ("/v1/responses", b'{"input": "x", "background": false}'),
    ],
)
def test_one_answer_to_one_prompt_is_shared(path: str, body: bytes) -> None:
    assert can_be_disaggregated("POST", path, body)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (COMPLETIONS, b'{"prompt": ["x"]}'),
        (COMPLETIONS, b'{"prompt": [[1], [2]]}'),
        (COMPLETIONS, b'{"prompt": []}'),
        (COMPLETIONS, b'{"prompt_embeds": "x"}'),
        (COMPLETIONS, b'{"prompt": "x", "n": 2}'),
        (COMPLETIONS, b'{"prompt": "x", "best_of": 2}'),
        (COMPLETIONS, b'{"prompt": "x", "use_beam_search": true}'),
        (COMPLETIONS, b'{"prompt": "x", "echo": true}'),
        (COMPLETIONS, b'{"prompt": "x", "prompt_logprobs": 0}'),
        (COMPLETIONS, b'{"prompt": "x", "n": "two"}'),
        (COMPLETIONS, b'{"prompt": "x", "kv_transfer_params": null}'),
        (COMPLETIONS, b'{"prompt": "x", "top_p": NaN}'),
        (COMPLETIONS, b'\xef\xbb\xbf{"prompt": "x"}'),
        (COMPLETIONS, b'{"prompt": "x"'),
        (COMPLETIONS, b"[]"),
        (COMPLETIONS, b""),
        ("/v1/responses", b'{"input": "x", "background": true}'),
        ("/v1/responses", b'{"input": "x", "previous_response_id": "resp_1"}'),
        ("/v1/embeddings", b'{"input": "x"}'),
        ("/v1/chat/completions/batch", b'{"messages": []}'),
    ],
)
def test_all_else_is_not(path: str, body: bytes) -> None:
    assert not can_be_disaggregated("POST", path, body)


def test_nor_what_only_reads() -> None:
    assert not can_be_disaggregated("GET", CHAT, b'{"messages": []}')


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b'{"stream":true,"max_tokens":7}', 0),
        (b'{"max_tokens":7}', 7),
        (b'{"stream":false,"max_tokens":7,"max_completion_tokens":9}', 9),
        (b'{"max_output_tokens":5}', 5),
        (b'{"max_tokens":null}', None),
        (b"{}", None),
        (b'{"max_tokens":"7"}', None),
        (b"[]", None),
    ],
)
def test_how_many_tokens_come_before_the_first_byte(body: bytes, tokens: int | None) -> None:
    assert tokens_before_first_byte(body) == tokens
