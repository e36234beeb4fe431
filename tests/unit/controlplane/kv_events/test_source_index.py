from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from controlplane.kv_events.decode import Cleared, Removed, Stored
from controlplane.kv_events.source_index import SourceIndex, tier_of
from shared.kv_chain import chain, encode_extra, root
from shared.kv_messages import TIER_DEVICE, TIER_DISK, TIER_EXTERNAL, TIER_HOST, TIER_NONE
from tests.unit.controlplane.kv_events.engine import SIZE, hashes_of, keys_of, removed, stored


def held(index: SourceIndex) -> dict[int, int]:
    """The tier of each block."""
    keys, tiers = index.held()
    return dict(zip(keys, tiers, strict=True))


def index_of(*events: Stored | Removed, max_blocks: int = 100) -> SourceIndex:
    index = SourceIndex(max_blocks)
    for event in events:
        assert index.apply(event)
    return index


def test_blocks_are_known_by_their_tokens_alone() -> None:
    index = index_of(stored([1, 2, 3, 4, 5]))
    assert held(index) == dict.fromkeys(keys_of([1, 2, 3, 4]), TIER_DEVICE)
    assert index.block_size == SIZE


def test_later_blocks_go_on_from_their_parent() -> None:
    index = index_of(stored([1, 2]), stored([1, 2, 3, 4, 5, 6], skip=1))
    assert list(held(index)) == keys_of([1, 2, 3, 4, 5, 6])


def test_blocks_without_a_known_parent_are_counted() -> None:
    index = index_of(stored([1, 2, 3, 4, 5, 6], skip=1))
    assert (len(index), index.orphans, index.changed) == (0, 2, {})


def test_another_adapter_is_another_chain() -> None:
    index = index_of(stored([1, 2], lora="a"), stored([1, 2]))
    assert list(held(index)) == keys_of([1, 2], "a") + keys_of([1, 2])


def test_the_adapter_among_the_extra_keys_is_told_once() -> None:
    event = replace(stored([1, 2, 3, 4], lora="a"), extra_keys=[["a"], ["a", "salt"]])
    index = index_of(event)
    extra = [None, encode_extra(["salt"])]
    assert list(held(index)) == chain(root("a"), [1, 2, 3, 4], SIZE, extra)


def test_changes_tell_what_is_held_now() -> None:
    index = index_of(stored([1, 2, 3, 4]), removed([1, 2, 3, 4]))
    one, two = keys_of([1, 2, 3, 4])
    assert index.changed == {one: TIER_DEVICE, two: TIER_NONE}


def test_a_block_that_is_held_twice_goes_with_its_second_removal() -> None:
    index = index_of(stored([1, 2]), stored([1, 2]), removed([1, 2]))
    assert len(index) == 1
    index.apply(removed([1, 2]))
    assert len(index) == 0


def test_a_block_that_was_moved_out_is_held_there() -> None:
    [key] = keys_of([1, 2])
    moved = replace(stored([1, 2], medium="CPU"), token_ids=[], block_size=0)
    index = index_of(stored([1, 2]), moved)
    assert index.changed == {key: TIER_DEVICE}
    index.apply(removed([1, 2]))
    assert index.changed == {key: TIER_HOST}
    assert held(index) == {key: TIER_HOST}
    index.apply(removed([1, 2], medium="CPU"))
    assert index.changed == {key: TIER_NONE}


def test_a_removal_from_where_it_is_not_changes_nothing() -> None:
    index = index_of(stored([1, 2]), removed([1, 2], medium="CPU"), removed([3, 4]))
    assert held(index) == {keys_of([1, 2])[0]: TIER_DEVICE}


def test_media_have_their_tiers() -> None:
    assert tier_of(None, None) == tier_of("GPU", "LOCAL") == TIER_DEVICE
    assert tier_of("CPU", None) == TIER_HOST
    assert tier_of("STORAGE", None) == TIER_DISK
    assert tier_of("STORAGE", "REMOTE") == tier_of("elsewhere", None) == TIER_EXTERNAL


def test_only_attention_that_sees_the_whole_prompt_counts() -> None:
    window = replace(stored([1, 2]), group_idx=0, kv_cache_spec_kind="sliding_window", kv_cache_spec_sliding_window=512)
    state = replace(stored([1, 2]), group_idx=1, kv_cache_spec_kind="mamba")
    full = replace(stored([3, 4]), group_idx=2, kv_cache_spec_kind="full_attention")
    second = replace(stored([5, 6]), group_idx=3, kv_cache_spec_kind="full_attention")
    index = index_of(window, state, full, second)
    assert list(held(index)) == keys_of([3, 4])
    index.apply(replace(removed([3, 4]), group_idx=0))
    assert len(index) == 1
    index.apply(replace(removed([3, 4]), group_idx=2))
    assert len(index) == 0


def test_there_are_never_more_blocks_than_allowed() -> None:
    index = index_of(stored([1, 2, 3, 4, 5, 6]), stored([7, 8]), max_blocks=2)
    assert (len(index), index.over_limit) == (2, 2)
    index.apply(removed([1, 2, 3, 4]))
    index.apply(stored([7, 8]))
    assert list(held(index)) == [keys_of([1, 2])[0], keys_of([7, 8])[0]]


def test_events_that_do_not_fit_together_are_counted() -> None:
    good = stored([1, 2, 3, 4])
    bad = [
        replace(good, block_size=3),
        replace(good, block_size=0),
        replace(good, token_ids=[1, 2, 3]),
        replace(good, token_ids=[1, 2, 3, -4]),
        replace(good, token_ids=[1, 2, 3, 2**40]),
        replace(good, extra_keys=[["salt"]]),
    ]
    index = index_of(*bad)
    assert (len(index), index.unusable) == (0, 12)


def test_blocks_of_another_size_than_the_one_given_or_the_first_are_of_no_use() -> None:
    index = SourceIndex(10, block_size=16)
    index.apply(stored([1, 2]))
    assert (len(index), index.unusable) == (0, 1)
    index = index_of(stored([1, 2, 3, 4]), Stored([9], None, [1, 2, 3, 4], 4))
    assert (len(index), index.unusable) == (2, 1)


def test_clearing_is_told() -> None:
    assert not SourceIndex(1).apply(Cleared())


PROMPTS = [[1, 2], [1, 2, 3, 4], [1, 2, 3, 4, 5, 6], [1, 2, 7, 8], [9, 9]]
STEPS = st.lists(st.tuples(st.sampled_from(PROMPTS), st.sampled_from(["GPU", "CPU"]), st.booleans()), max_size=30)


@given(STEPS)
def test_the_index_holds_what_the_engine_holds(steps: list[tuple[list[int], str, bool]]) -> None:
    """G-KV-1: engines store whole prompts and drop last blocks, several copies in two media, in any order."""
    index, told = SourceIndex(1000), dict[int, int]()
    copies: Counter[tuple[int, str]] = Counter()
    keys: dict[int, int] = {}
    for tokens, medium, stores in steps:
        hashes = hashes_of(tokens)
        alive = {handle for handle, _ in +copies}
        if stores:
            # An engine computes what it does not find; the beginning that it finds is not told again.
            skip = next((i for i, handle in enumerate(hashes) if handle not in alive), len(hashes) - 1)
            event = stored(tokens, skip=skip, medium=medium)
            keys.update(zip(hashes, keys_of(tokens), strict=True))
            copies.update((handle, medium) for handle in hashes[skip:])
            index.apply(event)
        else:
            copies[hashes[-1], medium] = max(0, copies[hashes[-1], medium] - 1)
            index.apply(removed(tokens, medium=medium))
        told |= index.changed
        index.changed = {}
        wanted = {keys[handle]: TIER_DEVICE if copies[handle, "GPU"] else TIER_HOST for handle, _ in +copies}
        assert held(index) == wanted
        assert {key: tier for key, tier in told.items() if tier} == wanted
