"""KV cache that goes from one simulated worker to another, as with vLLM's NixlConnector (pull).

A worker that is told `do_remote_decode` keeps the prompt's blocks and answers where they are. One that is told
`do_remote_prefill` fetches them there before it generates: a call to `/sim/handoffs` of the other worker, which may be
another process. What it gets decides what it says, as with real blocks:

- the blocks of this prompt: the right answer
- the blocks of another prompt: that prompt's answer
- blocks that were fetched before, or that nobody kept: some wrong answer, with status 200, as the real one
- nobody there: 500, as with `kv_load_failure_policy` "fail"
- an order with a key missing: the engine dies
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from . import wire
from .exchange import Exchange

if TYPE_CHECKING:
    from .worker import Worker

LEASE = 30.0
"""Seconds for which blocks are kept for a worker that does not come."""
FETCH_TIMEOUT = 5.0
_WRONG = 0x5EED
_NEEDED = (
    "remote_block_ids", "remote_engine_id", "remote_request_id", "remote_host", "remote_port",
)  # fmt: skip


class BadOrderError(Exception):
    """An order that ends the engine."""


class Handoffs:
    """What a worker keeps for others: the seed of the answer to a prompt stands for the prompt's blocks."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, float]] = {}
        self.taken = 0
        self.expired = 0

    def keep(self, name: str, seed: int, now: float) -> None:
        """Keep until they are taken; `now` is monotonic, in seconds."""
        self._expire(now)
        self._kept[name] = (seed, now + LEASE)

    def take(self, name: str, now: float) -> int:
        """Give the blocks away; of those that are not there the seed of something else."""
        self._expire(now)
        kept = self._kept.pop(name, None)
        self.taken += kept is not None
        return _WRONG if kept is None else kept[0]

    def __len__(self) -> int:
        return len(self._kept)

    def _expire(self, now: float) -> None:
        for name in [name for name, (_, until) in self._kept.items() if until < now]:
            del self._kept[name]
            self.expired += 1


def give(worker: Worker, exchange: Exchange) -> None:
    """Answer `POST /sim/handoffs?request=ID`: another worker fetches what was kept."""
    name = parse_qs(exchange.request.query.decode("latin-1")).get("request", [""])[0]
    seed = worker.handoffs.take(name, worker.loop.time())
    exchange.send(200, wire.JSON, json.dumps({"seed": seed}).encode())


def kept_for(worker: Worker, identity: str, seed: int, prompt_tokens: int) -> bytes:
    """Keep a prompt's blocks; return the `kv_transfer_params` that say where, key for key as vLLM 0.32."""
    name = f"{identity}-0-{random.getrandbits(32):08x}"
    worker.handoffs.keep(name, seed, worker.loop.time())
    parts = urlsplit(worker.url)
    blocks = -(-prompt_tokens // worker.config.block_size)
    return json.dumps(
        {
            "do_remote_prefill": True,
            "do_remote_decode": False,
            "remote_block_ids": [list(range(1, blocks + 1))],
            "remote_engine_id": worker.engine_id,
            "remote_request_id": name,
            "remote_host": parts.hostname,
            "remote_port": parts.port,
            "tp_size": 1,
            "dcp_size": 1,
            "pp_size": 1,
            "remote_num_tokens": prompt_tokens,
            "remote_blocks_expiry_time": None,
            "transfer_mode": "pull",
            "remote_prefill_cached_tokens": 0,
        },
        separators=(",", ":"),
    ).encode()


def fetch(worker: Worker, order: dict[str, Any], done: Callable[[int | None], None]) -> None:
    """Fetch what the order names and call `done` with its seed, None when it can not be had. Raises BadOrderError."""
    if any(order.get(key) is None for key in _NEEDED):
        raise BadOrderError
    task = worker.loop.create_task(_fetched(order))
    worker.fetches.add(task)

    def finish(ended: asyncio.Task[int | None]) -> None:
        worker.fetches.discard(ended)
        if not ended.cancelled():
            done(ended.result())

    task.add_done_callback(finish)


async def _fetched(order: dict[str, Any]) -> int | None:
    line = f"POST /sim/handoffs?request={quote(str(order['remote_request_id']), safe='')} HTTP/1.1\r\n"
    head = f"{line}host: {order['remote_host']}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(FETCH_TIMEOUT):
            reader, writer = await asyncio.open_connection(order["remote_host"], order["remote_port"])
            try:
                writer.write(head.encode("latin-1"))
                answer = await reader.read()
            finally:
                writer.close()
        return int(json.loads(answer.partition(b"\r\n\r\n")[2])["seed"])
    except (OSError, TimeoutError, ValueError, KeyError):
        return None
