from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.sim import text, tokenizer


@given(st.text())
def test_decoding_undoes_encoding(words: str) -> None:
    assert tokenizer.decode(tokenizer.encode(words)) == words


@given(st.lists(st.integers(0, tokenizer.VOCABULARY - 1), min_size=1))
def test_every_id_has_a_text(ids: list[int]) -> None:
    assert tokenizer.decode(ids).encode()


@pytest.mark.parametrize("token", [-1, tokenizer.VOCABULARY])
def test_an_id_outside_is_refused(token: int) -> None:
    with pytest.raises(ValueError, match=f"{token} is out of vocabulary"):
        tokenizer.decode([token])


def test_a_text_that_goes_on_keeps_its_leading_ids() -> None:
    start = tokenizer.encode("The quick brown fox")
    assert tokenizer.encode("The quick brown fox, jumping")[: len(start)] == start


def test_a_generated_answer_is_read_back_as_the_same_ids() -> None:
    seed = text.seed_of([1, 2, 3])
    assert tokenizer.encode(text.words(seed, 0, 200)) == text.ids(seed, 0, 200)


@given(st.integers(0, 2**64 - 1), st.integers(0, 200), st.integers(0, 200))
def test_text_can_be_read_from_any_place(seed: int, start: int, more: int) -> None:
    assert text.words(seed, 0, start + more)[start * text.WIDTH :] == text.words(seed, start, start + more)


def test_answers_follow_from_the_prompt_alone() -> None:
    assert text.seed_of([1, 2, 3]) == 15464330278300433822
    assert text.words(15464330278300433822, 0, 5) == text.words(text.seed_of((1, 2, 3)), 0, 5)
    assert text.seed_of([1, 2, 3], 1) != text.seed_of([1, 2, 3])
