from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controlplane.sim.kv import BlockPool, block_hashes


def test_a_prompt_finds_the_blocks_of_its_beginning() -> None:
    pool = BlockPool(8)
    first = block_hashes([1, 2, 3, 4, 5, 6], 2, 3)
    blocks = pool.take((), 3)
    assert blocks is not None
    pool.remember(blocks, first)
    pool.release(blocks)
    assert pool.referenced == 0
    assert pool.find(block_hashes([1, 2, 3, 4, 9, 9], 2, 3)) == blocks[:2]


def test_the_same_tokens_behind_another_beginning_are_another_block() -> None:
    assert block_hashes([1, 2, 7, 8], 2, 2)[1] != block_hashes([3, 4, 7, 8], 2, 2)[1]


def test_the_tail_freed_longest_ago_is_evicted_first() -> None:
    pool = BlockPool(3)
    hashes = block_hashes([1, 2, 3], 1, 3)
    blocks = pool.take((), 3)
    assert blocks is not None
    pool.remember(blocks, hashes)
    pool.release(blocks)
    assert pool.take((), 1) == [blocks[2]]
    assert pool.find(hashes) == blocks[:2]


def test_too_few_blocks_change_nothing() -> None:
    pool = BlockPool(3)
    held = pool.take((), 2)
    assert held is not None
    assert pool.take((), 2) is None
    assert pool.take(held, 2) is None
    assert pool.referenced == 2
    assert pool.take(held, 1) is not None


@given(st.lists(st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.booleans()), max_size=40))
def test_references_never_leak(steps: list[tuple[list[int], bool]]) -> None:
    pool = BlockPool(8)
    held: list[list[int]] = []
    for tokens, give_back in steps:
        hashes = block_hashes(tokens, 1, len(tokens))
        hits = pool.find(hashes)
        blocks = pool.take(hits, len(tokens) - len(hits))
        if blocks is not None:
            pool.remember(blocks, hashes)
            held.append(blocks)
        if give_back and held:
            pool.release(held.pop(0))
        assert pool.referenced == len({block for blocks in held for block in blocks})
        assert pool.free + pool.referenced == pool.size
    for blocks in held:
        pool.release(blocks)
    assert pool.referenced == 0
