"""vLLM's recorded KV events are read whole."""

from __future__ import annotations

import json
from pathlib import Path

from controlplane.kv_events.decode import Stored, decode
from controlplane.kv_events.feed import Feed, Lost, SourceKey
from shared.kv_chain import chain, root, unpack
from shared.table import Stamp

CAPTURE = json.loads((Path(__file__).parent / "captures" / "kv_events.json").read_text())
PUBLISHED = [[bytes.fromhex(frame) for frame in message] for message in CAPTURE["pub"]]
REPLAYED = [[bytes.fromhex(frame) for frame in message] for message in CAPTURE["replay"]]


def payloads() -> list[bytes]:
    """The replay's messages: all that the engine published."""
    return [message[-1] for message in REPLAYED if message[-1]]


def test_the_replay_holds_what_was_published() -> None:
    assert [message[1:] for message in REPLAYED if message[2] in [frames[1] for frames in PUBLISHED]] == PUBLISHED


def test_every_message_is_read_whole() -> None:
    for payload in payloads():
        batch = decode(payload)
        assert batch.malformed == 0
        assert batch.rank == 0
        assert batch.ts > 1.7e9
        assert all(isinstance(event, Stored) and event.block_size == CAPTURE["block_size"] for event in batch.events)


def test_the_index_holds_the_prompts_blocks() -> None:
    feed, key = Feed(1000), SourceKey("w", 0)
    feed.add(key)
    events = [event for payload in payloads() for event in decode(payload).events]
    feed.apply(key, events)
    # The second prompt begins with two blocks of the first, and its last block became full a step later.
    first, second, third = (event for event in events if isinstance(event, Stored))
    size = CAPTURE["block_size"]
    long = first.token_ids[: 2 * size] + second.token_ids + third.token_ids
    [update] = feed.updates(Stamp(1, 1, 0))
    assert set(unpack(update.keys)) == {*chain(root(None), first.token_ids, size), *chain(root(None), long, size)}
    assert feed.report()[0].lost == Lost()
