"""Both encodings of vLLM's events, with the fields of old versions and of new ones."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.kv_events.decode import BadEventsError, Cleared, Removed, Stored, decode

encode = msgspec.msgpack.encode

STORED_ARRAYS: list[list[Any]] = [
    # 0.9: no medium; 0.11: medium; 0.14: the adapter's name; 0.18: extra keys; 0.20: groups.
    ["BlockStored", [1, 2], None, [5, 6, 7, 8], 2, None],
    ["BlockStored", [1, 2], None, [5, 6, 7, 8], 2, None, "GPU"],
    ["BlockStored", [1, 2], None, [5, 6, 7, 8], 2, None, "GPU", None],
    ["BlockStored", [1, 2], None, [5, 6, 7, 8], 2, None, "GPU", None, [None, ["salt"]]],
    ["BlockStored", [1, 2], None, [5, 6, 7, 8], 2, None, "GPU", None, None, 0, "full_attention", None],
    ["BlockStored", [1, 2], None, [5, 6, 7, 8], 2, None, "GPU", None, None, 0, "full_attention", None, "LOCAL", "?", 1],
]


@pytest.mark.parametrize("event", STORED_ARRAYS, ids=len)
def test_arrays_of_every_length_are_read(event: list[Any]) -> None:
    [found] = decode(encode([1.5, [event]])).events
    assert isinstance(found, Stored)
    assert (found.block_hashes, found.parent_block_hash, found.token_ids, found.block_size) == (
        [1, 2],
        None,
        [5, 6, 7, 8],
        2,
    )


def test_maps_are_read_whatever_else_is_in_them() -> None:
    events = [
        {"type": "BlockStored", "block_hashes": [b"x"], "parent_block_hash": b"y", "token_ids": [1], "block_size": 1}
        | {"lora_name": "a", "later": {"deep": [1]}, "extra_keys": [["a", ["mm", 3]]], "locality": "REMOTE"},
        {"type": "BlockRemoved", "block_hashes": [7], "medium": "CPU", "group_idx": 1, "ownership": "o"},
        {"type": "AllBlocksCleared"},
    ]
    batch = decode(encode([2.5, events, 3]))
    assert (batch.ts, batch.rank, batch.malformed) == (2.5, 3, 0)
    one, two, three = batch.events
    assert isinstance(one, Stored)
    assert (one.block_hashes, one.lora_name, one.extra_keys, one.locality) == (
        [b"x"],
        "a",
        [["a", ["mm", 3]]],
        "REMOTE",
    )
    assert isinstance(two, Removed)
    assert (two.block_hashes, two.medium, two.group_idx) == ([7], "CPU", 1)
    assert isinstance(three, Cleared)


def test_old_arrays_of_removal_and_clearing_are_read() -> None:
    events = decode(
        encode([0.0, [["BlockRemoved", [7]], ["BlockRemoved", [8], "GPU", 0], ["AllBlocksCleared"]]])
    ).events
    assert [type(event).__mro__[1] for event in events] == [Removed, Removed, Cleared]


def test_an_event_that_is_none_is_left_out_and_counted() -> None:
    batch = decode(encode([0.0, [["BlockMoved", 1], {"type": "BlockRemoved"}, 5, None, ["BlockRemoved", [7]]]]))
    assert batch.malformed == 4
    assert len(batch.events) == 1


@given(st.binary(max_size=64))
def test_nothing_else_than_its_own_error_comes_of_any_bytes(payload: bytes) -> None:
    with contextlib.suppress(BadEventsError):
        decode(payload)


@pytest.mark.parametrize("payload", [b"", b"\xc0", encode({}), encode([1.0]), encode(["x", []]), b"\x91" * 5000])
def test_what_is_no_batch_is_refused(payload: bytes) -> None:
    with pytest.raises(BadEventsError):
        decode(payload)
