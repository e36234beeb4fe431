from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kv_chain import chain, pack, root, unpack

TOKENS = st.lists(st.integers(0, 2**32 - 1), max_size=40)


@given(TOKENS, st.integers(1, 5), st.integers(0, 10))
def test_a_chain_goes_on_where_it_was_broken_off(tokens: list[int], size: int, blocks: int) -> None:
    whole = chain(root(None), tokens, size)
    blocks = min(blocks, len(whole))
    begun = chain(root(None), tokens[: blocks * size], size)
    assert begun + chain((begun or [root(None)])[-1], tokens[blocks * size :], size) == whole
    assert len(whole) == len(tokens) // size


def test_a_block_is_named_by_all_that_is_before_it() -> None:
    one, other = chain(root(None), [1, 2, 9, 9], 2), chain(root(None), [3, 4, 9, 9], 2)
    assert not set(one) & set(other)
    assert not set(one) & set(chain(root("adapter"), [1, 2, 9, 9], 2))


def test_extra_keys_change_their_block_and_those_after_it() -> None:
    plain = chain(root(None), [1, 2, 3], 1)
    salted = chain(root(None), [1, 2, 3], 1, [None, b"salt", None])
    assert salted[0] == plain[0]
    assert salted[1] != plain[1]
    assert salted[2] != plain[2]


@pytest.mark.parametrize("tokens", [[-1], [2**32], [1, 2**64]])
def test_what_is_no_token_id_is_refused(tokens: list[int]) -> None:
    with pytest.raises(OverflowError):
        chain(root(None), tokens, 1)


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_keys_travel(keys: list[int]) -> None:
    assert unpack(pack(keys)) == keys


def test_half_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple"):
        unpack(b"123456789")
