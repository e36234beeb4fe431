"""The simulator's KV events are vLLM's recorded bytes for the same blocks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from controlplane.sim.kv_log import KvLog

CAPTURE = json.loads((Path(__file__).parent / "captures" / "kv_events.json").read_text())
PAYLOADS = [bytes.fromhex(message[-1]) for message in CAPTURE["replay"] if message[-1]]


@pytest.mark.parametrize("number", range(len(PAYLOADS)))
def test_the_simulator_encodes_the_same_event_in_the_same_bytes(number: int) -> None:
    """Apart from the hashes, which are the engine's own."""
    recorded = PAYLOADS[number]
    ts, [event], rank = msgspec.msgpack.decode(recorded)
    log = KvLog(CAPTURE["block_size"])
    hashes = [value.to_bytes(8, "big") for value in event["block_hashes"]]
    before = [] if event["parent_block_hash"] is None else [event["parent_block_hash"].to_bytes(8, "big")]
    tokens: list[Any] = [0] * (CAPTURE["block_size"] * len(before)) + event["token_ids"]
    log.stored(tokens, before + hashes, len(before), len(before) + len(hashes))
    assert log.batch(ts, rank) == recorded
    assert log.batch(ts, rank) is None
