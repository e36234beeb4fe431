"""Conversations as requests: each turn's prompt begins with all of the turn before.

A trace is in blocks of 512 tokens, as Mooncake's public traces are: a number stands for a block's content. Here it
becomes 512 token ids for the engines and 2 KiB of text for the policies.
"""

from __future__ import annotations

import gzip
import json
import random
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.simulation.fleet import MODEL, Arrival

BLOCK = 512
"""Tokens."""


def arrival(at: float, blocks: Sequence[int], tokens: int, answer: int) -> Arrival:
    """Return a request whose prompt has these blocks, of which the last may not be full."""
    ids = array("I")
    for block in blocks:
        ids.extend(array("I", [block + 1]) * BLOCK)
    text = "".join(f"{block:08x}" * (BLOCK // 2) for block in blocks)[: tokens * 4]
    body = json.dumps({"model": MODEL, "prompt": text}).encode()
    return Arrival(at, ids[:tokens], body, answer)


def read_trace(path: Path, *, speed: float = 1.0, most: int = 1 << 30) -> Iterator[Arrival]:
    """Read a trace in Mooncake's format (JSON lines, gzip); `speed` compresses the times between requests."""
    with gzip.open(path, "rt") as lines:
        for number, line in enumerate(lines):
            if number >= most:
                return
            one = json.loads(line)
            yield arrival(
                one["timestamp"] / 1000 / speed, one["hash_ids"], one["input_length"], max(1, one["output_length"])
            )


def conversations(
    count: int, *, turns: int, seconds: float, rng: random.Random, answer: int = 100, shared: int = 1
) -> list[Arrival]:
    """Return so many conversations over that time; they share a beginning of `shared` blocks."""
    found = []
    fresh = iter(range(shared, 1 << 30))
    for _ in range(count):
        blocks = list(range(shared))
        at = rng.uniform(0, seconds)
        for _ in range(rng.randint(1, 2 * turns - 1)):
            blocks += [next(fresh) for _ in range(rng.randint(1, 8))]
            found.append(arrival(at, blocks, len(blocks) * BLOCK, answer))
            at += rng.expovariate(1 / 20)
    return sorted(found, key=lambda one: one.at)
