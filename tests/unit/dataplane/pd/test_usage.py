"""The prefill worker's count in a decode worker's answer: there, and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataplane.pd.usage import cached_tokens, tells_transfer, with_cached_tokens, without_transfer

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"

WHOLE = [
    (
        COMPLETIONS,
        b'{"choices":[{"text":"x"}],"usage":{"prompt_tokens":9,"prompt_tokens_details":null},"kv_transfer_params":null}',
        b'{"choices":[{"text":"x"}],"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":4}},'
        b'"kv_transfer_params":null}',
    ),
    (
        CHAT,
        b'{ "usage" : {"prompt_tokens_details" : { "cached_tokens" : 8 ,"audio_tokens":null} } , "x":1.50}',
        b'{ "usage" : {"prompt_tokens_details" : { "cached_tokens" : 4 ,"audio_tokens":null} } , "x":1.50}',
    ),
    (
        CHAT,
        b'{"usage":{"prompt_tokens":9}}',
        b'{"usage":{"prompt_tokens_details":{"cached_tokens":4},"prompt_tokens":9}}',
    ),
    (
        RESPONSES,
        b'{"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":8,"cached_tokens_per_turn":[]}}}',
        b'{"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4,"cached_tokens_per_turn":[]}}}',
    ),
    (
        MESSAGES,
        b'{"usage":{"input_tokens":1,"cache_read_input_tokens":8,"output_tokens":2}}',
        b'{"usage":{"input_tokens":5,"cache_read_input_tokens":4,"output_tokens":2}}',
    ),
    (
        MESSAGES,
        b'{"usage":{"input_tokens":9,"output_tokens":2}}',
        b'{"usage":{"cache_read_input_tokens":4,"input_tokens":5,"output_tokens":2}}',
    ),
]
EVENTS = [
    (
        COMPLETIONS,
        b'{"choices":[],"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":8}}}',
        b'{"choices":[],"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":4}}}',
    ),
    (
        CHAT,
        b'{"choices":[],"usage":{"prompt_tokens":9}}',
        b'{"choices":[],"usage":{"prompt_tokens_details":{"cached_tokens":4},"prompt_tokens":9}}',
    ),
    (
        RESPONSES,
        b'{"type":"response.completed","response":{"usage":{"input_tokens_details":{"cached_tokens":8}}}}',
        b'{"type":"response.completed","response":{"usage":{"input_tokens_details":{"cached_tokens":4}}}}',
    ),
    (
        MESSAGES,
        b'{"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":0}}}',
        b'{"type":"message_start","message":{"usage":{"cache_read_input_tokens":4,"input_tokens":5,"output_tokens":0}}}',
    ),
    (
        MESSAGES,
        b'{"type":"message_delta","usage":{"input_tokens":1,"output_tokens":3,"cache_read_input_tokens":8}}',
        b'{"type":"message_delta","usage":{"input_tokens":5,"output_tokens":3,"cache_read_input_tokens":4}}',
    ),
]


@pytest.mark.parametrize(("path", "text", "expected"), WHOLE)
def test_the_count_is_put_where_it_belongs(path: str, text: bytes, expected: bytes) -> None:
    assert with_cached_tokens(path, text, 4, is_event=False) == expected
    assert with_cached_tokens(path, expected, 4, is_event=False) is expected
    assert cached_tokens(path, expected) == 4


@pytest.mark.parametrize(("path", "text", "expected"), EVENTS)
def test_so_it_is_in_events(path: str, text: bytes, expected: bytes) -> None:
    assert with_cached_tokens(path, text, 4, is_event=True) == expected
    assert with_cached_tokens(path, expected, 4, is_event=True) is expected


@pytest.mark.parametrize("is_event", [True, False])
@pytest.mark.parametrize("path", [COMPLETIONS, CHAT, RESPONSES, MESSAGES])
@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"{", b"1", b"[DONE]", b"{}", b'{"usage":null}', b'{"usage":1}', b'{"usage":[]}',
        b'{"usage":{"prompt_tokens_details":5,"input_tokens_details":"x","input_tokens":null}}',
        b'{"usage":{"prompt_tokens_details":{"cached_tokens":"x"},"input_tokens_details":{"cached_tokens":1.5}}}',
        b'{"message":{"usage":7},"response":{"usage":"x"},"choices":[]}', b'{"response":null,"message":null}',
        b'\xff{"usage":{}}', b'{"usage":' + b"[" * 5000, b'{"usage":{"input_tokens":3}',
    ],
)  # fmt: skip
def test_what_is_not_as_expected_stays(path: str, text: bytes, is_event: bool) -> None:
    assert with_cached_tokens(path, text, 4, is_event=is_event) is text
    assert without_transfer(path, text, is_event=is_event) is text
    assert cached_tokens(path, text) is None


@pytest.mark.parametrize(
    ("path", "text"),
    [
        # A running count has no details in vLLM.
        (CHAT, b'{"choices":[{"index":0}],"usage":{"prompt_tokens":9}}'),
        (RESPONSES, b'{"type":"response.created","response":{"usage":null}}'),
    ],
)
def test_other_events_stay(path: str, text: bytes) -> None:
    assert with_cached_tokens(path, text, 4, is_event=True) is text


def test_a_count_of_several_turns_stays() -> None:
    details = b'{"cached_tokens":9,"cached_tokens_per_turn":[4,5]}'
    text = b'{"usage":{"input_tokens_details":%b}}' % details
    assert with_cached_tokens(RESPONSES, text, 1, is_event=False) is text


def test_more_cached_tokens_than_there_are_stay_out() -> None:
    text = b'{"usage":{"input_tokens":3,"output_tokens":1}}'
    assert with_cached_tokens(MESSAGES, text, 4, is_event=False) is text


def test_a_count_below_zero_is_none() -> None:
    assert cached_tokens(MESSAGES, b'{"usage":{"cache_read_input_tokens":-1}}') is None
    assert cached_tokens(CHAT, b'{"usage":{"prompt_tokens_details":{"cached_tokens":0}}}') == 0


@pytest.mark.parametrize(
    ("path", "is_event", "text", "expected"),
    [
        (
            CHAT,
            False,
            b'{"x":1, "kv_transfer_params" : {"host":"h"},"y":2}',
            b'{"x":1, "kv_transfer_params" : null,"y":2}',
        ),
        (
            RESPONSES,
            True,
            b'{"response":{"kv_transfer_params":{"a":[1]}}}',
            b'{"response":{"kv_transfer_params":null}}',
        ),
    ],
)
def test_where_kv_cache_is_the_client_does_not_hear(path: str, is_event: bool, text: bytes, expected: bytes) -> None:
    assert tells_transfer(text)
    assert without_transfer(path, text, is_event=is_event) == expected


def test_null_is_left_as_it_is() -> None:
    assert not tells_transfer(b'{"kv_transfer_params":null}')
    spaced = b'{"kv_transfer_params" : null}'
    assert without_transfer(CHAT, spaced, is_event=False) is spaced


# --- random answers --------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=()), max_size=6)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)
counts = st.integers(0, 50)
DETAILS = {COMPLETIONS: "prompt_tokens_details", CHAT: "prompt_tokens_details", RESPONSES: "input_tokens_details"}


@st.composite
def answers(draw: st.DrawFn) -> tuple[str, bool, bytes]:
    """Return a path, whether it is an event, what a decode worker says, with twins of its usage."""
    path = draw(st.sampled_from((COMPLETIONS, CHAT, RESPONSES, MESSAGES)))
    is_event = draw(st.booleans())
    usage: dict[str, Any] = draw(st.dictionaries(names, values, max_size=3))
    if path == MESSAGES:
        usage |= {"input_tokens": draw(counts), "cache_read_input_tokens": draw(counts)}
    else:
        usage[DETAILS[path]] = draw(st.none() | st.dictionaries(names, values, max_size=2).map(
            lambda details: details | {"cached_tokens": 1}))  # fmt: skip
    usage = dict(draw(st.permutations(list(usage.items()))))
    holder: dict[str, Any] = draw(st.dictionaries(names, values | st.just(usage), max_size=4))
    holder |= {"usage": usage, "choices": [] if is_event else [usage], "twin": usage}
    holder["kv_transfer_params"] = draw(st.none() | st.just({"host": usage}))
    holder = dict(draw(st.permutations(list(holder.items()))))
    if is_event and path == RESPONSES:
        holder = {"type": "response.completed", "usage": usage, "response": holder}
    if is_event and path == MESSAGES and draw(st.booleans()):
        holder = {"type": "message_start", "usage": usage, "message": holder}
    written = json.dumps(
        holder, ensure_ascii=draw(st.booleans()), separators=draw(st.sampled_from(((",", ":"), (", ", " : ")))),
        indent=draw(st.sampled_from((None, 1))),
    )  # fmt: skip
    return path, is_event, written.encode("utf-8", "replace")


def inner(path: str, is_event: bool, answer: dict[str, Any]) -> dict[str, Any]:
    if is_event and path == RESPONSES:
        found: dict[str, Any] = answer["response"]
        return found
    return answer.get("message", answer) if is_event and path == MESSAGES else answer


@settings(max_examples=100, deadline=None)
@given(answers(), st.integers(0, 20))
def test_all_other_values_stay_and_nearly_all_bytes(answer: tuple[str, bool, bytes], cached: int) -> None:
    path, is_event, text = answer
    changed = with_cached_tokens(path, text, cached, is_event=is_event)
    expected = json.loads(text)
    usage = inner(path, is_event, expected)["usage"]
    if path == MESSAGES:
        left = usage["input_tokens"] + usage["cache_read_input_tokens"] - cached
        if left >= 0:
            usage |= {"input_tokens": left, "cache_read_input_tokens": cached}
    else:
        usage[DETAILS[path]] = (usage[DETAILS[path]] or {}) | {"cached_tokens": cached}
    assert json.loads(changed) == expected
    assert is_spliced(text, changed)
    hidden = without_transfer(path, changed, is_event=is_event)
    inner(path, is_event, expected)["kv_transfer_params"] = None
    assert json.loads(hidden) == expected
    assert with_cached_tokens(path, hidden, cached, is_event=is_event) is hidden


def is_spliced(before: bytes, after: bytes) -> bool:
    """Whether what differs is short: numbers, or details in the place of null."""
    start = next(
        (n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    ends = zip(reversed(before[start:]), reversed(after[start:]), strict=False)
    tail = next((n for n, (a, b) in enumerate(ends) if a != b), min(len(before), len(after)) - start)
    gone, come = before[start : len(before) - tail], after[start : len(after) - tail]
    return json.dumps(sorted(_digitless(gone))) == json.dumps(sorted(_digitless(come))) or gone in b"null"


def _digitless(text: bytes) -> list[int]:
    return [byte for byte in text if not chr(byte).isdigit()]


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=60), st.sampled_from((COMPLETIONS, RESPONSES, MESSAGES)), st.booleans())
def test_no_bytes_are_too_strange(text: bytes, path: str, is_event: bool) -> None:
    assert with_cached_tokens(path, text, 1, is_event=is_event) is text
    assert without_transfer(path, text, is_event=is_event) is text
