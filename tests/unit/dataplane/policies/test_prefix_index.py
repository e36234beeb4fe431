"""The index of prompts' beginnings: who has the longest, within its bounds."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.policies.prefix_index import ENTRY_BYTES, PrefixIndex
from dataplane.policies.prompt import ENDS, Prompt

A, B, C = "a", "b", "c"


def blocks(name: str, count: int) -> list[int]:
    """The hashes of `count` blocks of a prompt that is told from others by its name."""
    return Prompt((name * ENDS[count])[: ENDS[count - 1]].encode(), 0).block_hashes("m")


def index(*, max_length: int = 1 << 30, max_bytes: int = 1 << 30) -> PrefixIndex:
    return PrefixIndex(max_length=max_length, max_bytes=max_bytes)


def test_who_has_the_longest_beginning_comes_first() -> None:
    found = index()
    long = blocks("x", 10)
    assert found.learn(A, 1, long[:4]) == long[:4]
    assert found.learn(B, 1, long[:7]) == long[:7]
    assert found.learn(A, 1, long[:5]) == long[4:5]
    found.learn(C, 1, blocks("y", 3))
    assert found.holders(long, 4) == [(B, ENDS[6]), (A, ENDS[4])]
    assert found.holders(long, 1) == [(B, ENDS[6])]
    assert found.holders(long[:2], 4) == [(A, ENDS[1]), (B, ENDS[1])]
    assert found.holders(blocks("z", 3), 4) == []
    assert found.holders([], 4) == []


def test_a_restarted_worker_has_nothing_and_its_past_is_not_believed_any_more() -> None:
    found = index()
    long = blocks("x", 6)
    found.learn(A, 1, long)
    found.learn(B, 1, long[:2])
    found.follow({A: 2, B: 1})
    assert found.holders(long, 4) == [(B, ENDS[1])]
    found.learn(A, 2, long[:3])
    assert found.learn(A, 1, long) == []
    assert found.holders(long, 4) == [(A, ENDS[2]), (B, ENDS[1])]
    # News of the next life may be here before the table.
    found.learn(B, 2, long[:1])
    assert found.holders(long, 4) == [(A, ENDS[2]), (B, ENDS[0])]
    while found.sweep():
        pass
    assert len(found) == 4


def test_a_worker_that_is_gone_is_swept_out_bit_by_bit() -> None:
    found = index()
    for number in range(100):
        found.learn(A, 1, blocks(f"prompt {number}", 10))
    found.learn(B, 1, blocks("x", 2))
    found.follow({B: 1})
    assert len(found) == 1002
    sweeps = 1
    while found.sweep():
        sweeps += 1
    assert sweeps == 4
    assert len(found) == 2
    assert len(found._holders) == 2


def test_what_was_not_used_for_longest_goes_first_and_ends_go_before_beginnings() -> None:
    found = index(max_length=10 * 512)
    first, second = blocks("x", 5), blocks("y", 5)
    found.learn(A, 1, first)
    found.learn(A, 1, second)
    found.learn(A, 1, first)
    found.learn(A, 1, blocks("z", 2))
    assert found.holders(first, 1) == [(A, ENDS[4])]
    assert found.holders(second, 1) == [(A, ENDS[2])]


def test_the_bound_of_one_worker_is_no_bound_for_another() -> None:
    found = index(max_length=ENDS[4])
    for number in range(20):
        found.learn(A, 1, blocks(f"prompt {number}", 5))
    found.learn(B, 1, blocks("x", 3))
    assert found.holders(blocks("x", 3), 1) == [(B, ENDS[2])]
    assert found.holders(blocks("prompt 18", 5), 1) == []
    assert found.holders(blocks("prompt 19", 5), 1) == [(A, ENDS[4])]
    assert len(found) == 8


def test_who_has_more_than_its_part_gives_first_when_memory_runs_out() -> None:
    found = index(max_bytes=2000 * ENTRY_BYTES)
    for number in range(180):
        found.learn(A, 1, blocks(f"prompt {number}", 10))
    for number in range(60):
        found.learn(B, 1, blocks(f"other {number}", 10))
    assert len(found) <= 2000
    assert found.holders(blocks("other 0", 10), 1) == [(B, ENDS[9])]
    assert found.holders(blocks("prompt 0", 10), 1) == []
    assert found.holders(blocks("prompt 179", 10), 1) == [(A, ENDS[9])]


workers = st.sampled_from((A, B, C))
steps = st.one_of(
    st.tuples(st.just("learn"), workers, st.integers(1, 3), st.sampled_from("xyz"), st.integers(1, 30)),
    st.tuples(st.just("follow"), st.dictionaries(workers, st.integers(1, 3))),
    st.tuples(st.just("sweep")),
)


@given(st.lists(steps, max_size=40), st.integers(600, 40_000), st.integers(1, 60))
def test_it_keeps_its_bounds_and_its_books_through_any_history(
    history: list[tuple[object, ...]], max_length: int, entries: int
) -> None:
    found = index(max_length=max_length, max_bytes=entries * ENTRY_BYTES)
    for step in history:
        match step:
            case ("learn", str(worker), int(epoch), str(name), int(count)):
                found.learn(worker, epoch, blocks(name, count))
            case ("follow", dict(epochs)):
                found.follow(epochs)
            case _:
                found.sweep()
        lives = [life for _, life in found._lives.values()]
        assert len(found) == sum(len(life.blocks) for life in (*lives, *found._over))
        assert len(found) <= entries
        assert all(life.length <= max_length for life in lives)
        by_block = {block: set(numbers) for block, numbers in found._holders.items()}
        told = {(block, life.number) for life in (*lives, *found._over) for block in life.blocks}
        assert told == {(block, number) for block, numbers in by_block.items() for number in numbers}
        for name in "xyz":
            for worker, length in found.holders(blocks(name, 30), 5):
                assert blocks(name, 30)[ENDS.index(length)] in found._lives[worker][1].blocks


def _memory_of(prompts: int, max_bytes: int) -> tuple[int, PrefixIndex]:
    rng = random.Random(1)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        found = index(max_bytes=max_bytes)
        for number in range(prompts):
            # Hashes as they are: 57 random bits and the block's number.
            found.learn(f"w{number % 30}", 1, [rng.getrandbits(57) << 7 | place for place in range(4)])
        return tracemalloc.get_traced_memory()[0] - before, found
    finally:
        tracemalloc.stop()


def test_its_memory_is_what_it_was_given() -> None:
    used, found = _memory_of(20_000, 4 << 20)
    assert len(found) > 10_000
    assert used <= 1.1 * (4 << 20)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_its_memory_is_what_it_was_given_through_a_million_prompts() -> None:
    used, _ = _memory_of(1_000_000, 64 << 20)
    assert used <= 1.1 * (64 << 20)
