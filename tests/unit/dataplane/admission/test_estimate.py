"""What a request may take is told by its body, and settled by what became of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dataplane.admission.estimate import ANSWER, NOTHING, PIECE, Estimate, estimate, spent
from dataplane.exchange import Exchange
from dataplane.usage import Usage
from shared.routes import route_of

CHAT = "/v1/chat/completions"


def asked(path: str = CHAT, **members: Any) -> tuple[int, int]:
    """Return the bytes of a body, and what is estimated for the answer."""
    body = json.dumps({"model": "m", **members}).encode()
    found = estimate(body, route_of(path))
    assert found.prompt == len(body) // 4
    return len(body), found.tokens - found.prompt


@pytest.mark.parametrize(
    ("members", "answer"),
    [
        ({}, ANSWER),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 9, "max_tokens": 7}, 9),
        ({"max_output_tokens": 11}, 11),
        ({"max_tokens": 0}, 0),
        ({"max_tokens": 10, "n": 4}, 40),
        ({"n": 3}, 3 * ANSWER),
        ({"sampling_params": {"max_tokens": 5, "n": 2}}, 10),
        ({"max_tokens": -5, "n": -1}, 0),
        ({"max_tokens": "many"}, ANSWER),
        ({"max_tokens": 1 << 60, "n": 1 << 60}, None),
    ],
)
def test_the_answer_is_what_is_asked_for_at_most(members: dict[str, Any], answer: int | None) -> None:
    size, found = asked(**members)
    assert found == answer if answer is not None else found == (1 << 40) - size // 4


def test_what_makes_no_tokens_takes_its_prompt_and_what_needs_no_engine_nothing() -> None:
    assert asked("/v1/embeddings", input="x" * 100)[1] == 0
    assert estimate(b'{"prompt":"x"}', route_of("/tokenize")) == NOTHING
    assert estimate(b"--form" * 1000, route_of("/v1/audio/transcriptions")) == Estimate(0, ANSWER)


DATA = "A" * 100_000
PARTS: list[dict[str, Any]] = [
    {"type": "image_url", "image_url": {"url": "data:image/png;base64," + DATA}},
    {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}},
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}},
]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["messages", "input"])
def test_pictures_and_sounds_count_by_the_piece(name: str, part: dict[str, Any]) -> None:
    said = [{"role": "system", "content": "x" * 4000}, {"role": "user", "content": [{"text": "y" * 400}, part, part]}]
    body = json.dumps({"model": "m", name: said}).encode()
    found = estimate(body, route_of(CHAT))
    assert 2 * PIECE + 1100 < found.prompt < 2 * PIECE + 1200


def test_a_text_is_a_text_however_long_it_is() -> None:
    for members in (
        {"prompt": DATA},
        {"input": DATA},
        {"input": [DATA]},
        {"messages": [{"role": "user", "content": DATA}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": DATA}]}, {"role": "assistant"}]},
        {"messages": "none"},
    ):
        body = json.dumps({"model": "m", **members}).ljust(len(DATA)).encode()
        assert estimate(body, route_of(CHAT)).prompt == len(body) // 4
    assert estimate(b"{" + DATA.encode(), route_of(CHAT)).prompt == 25_000


def exchange(status: int, parts: int, *, is_stream: bool, ends: bool = False) -> Exchange:
    made = Exchange.__new__(Exchange)
    made.status, made.parts, made.is_stream = status, parts, is_stream
    made._last = b"data: [DONE]\n\n" if ends else b""
    return made


def test_it_is_settled_by_what_the_answer_says_or_by_what_was_sent() -> None:
    guess = Estimate(100, 400)
    assert spent(guess, exchange(200, 9, is_stream=True), Usage(120, 30, 0), is_whole=True) == 150
    assert spent(guess, exchange(200, 11, is_stream=True, ends=True), None, is_whole=True) == 110
    assert spent(guess, exchange(200, 10, is_stream=True), None, is_whole=False) == 110
    assert spent(guess, exchange(200, 1, is_stream=False), None, is_whole=True) is None
    assert spent(guess, exchange(200, 1, is_stream=False), None, is_whole=False) == 100
    assert spent(guess, exchange(0, 0, is_stream=False), None, is_whole=False) == 100
    assert spent(guess, None, None, is_whole=False) == 100
    assert spent(guess, exchange(400, 1, is_stream=False), None, is_whole=True) == 0
