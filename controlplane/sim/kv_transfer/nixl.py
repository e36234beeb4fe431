"""NixlConnector (pull): the prefill worker keeps the blocks and answers where they are, the decode worker fetches them.

As seen with vLLM 0.32:

- blocks of this prompt: the right answer; those of another prompt: that prompt's answer
- blocks that were fetched before, or that nobody kept: some wrong answer, with status 200
- nobody there, another engine id, another version or model: 500
- a key missing: the engine ends
- an answer that did not end by its length hands nothing over
"""

from __future__ import annotations

import json
from typing import Any, ClassVar
from urllib.parse import urlsplit

from .base import NO_HANDOFF, WRONG, EngineSide, Fetched, Leg, Loading, require
from .handoffs import UnreachableError, fits, taken


class Nixl(EngineSide):
    """Both roles."""

    name: ClassVar[str] = "nixl"
    mode: ClassVar[str] = "pull"

    def load(self, leg: Leg) -> Loading | None:
        """Fetch what the order names."""
        if not leg.order.get("do_remote_prefill"):
            return None
        self.check(leg.order)
        return self._fetched(leg)

    def check(self, order: dict[str, Any]) -> None:
        """Raise EngineDeadError for an order that is not complete."""
        require(
            order, "remote_block_ids", "remote_engine_id", "remote_request_id", "remote_host", "remote_port"
        )  # fmt: skip

    async def take(self, leg: Leg) -> int | None:
        """Return whose blocks these are; None: they never come."""
        order = leg.order
        engine = str(order["remote_engine_id"])
        seed = await taken(
            self.worker, order["remote_host"], order["remote_port"], str(order["remote_request_id"]), engine=engine,
            fits=fits(self.worker),
        )  # fmt: skip
        return WRONG if seed is None else seed

    async def _fetched(self, leg: Leg) -> Fetched | None:
        try:
            seed = await self.take(leg)
        except UnreachableError:
            return None
        return None if seed is None else Fetched(seed, len(leg.prompt))

    def kept_as(self, leg: Leg) -> str:
        """Return under which name the blocks are kept."""
        return leg.request_id

    def finished(self, leg: Leg, seed: int, *, by_length: bool) -> bytes:
        """Keep the blocks, if that was the order; key for key as vLLM 0.32."""
        if not leg.order.get("do_remote_decode") or not by_length:
            return NO_HANDOFF
        worker, tokens = self.worker, len(leg.prompt)
        worker.handoffs.keep(self.kept_as(leg), seed, worker.loop.time())
        parts = urlsplit(worker.url)
        blocks = -(-tokens // self.config.block_size)
        return json.dumps(
            {
                "do_remote_prefill": True,
                "do_remote_decode": False,
                "remote_block_ids": [list(range(1, blocks + 1))],
                "remote_engine_id": worker.engine_ids[0],
                "remote_request_id": leg.request_id,
                "remote_host": parts.hostname,
                "remote_port": parts.port,
                "tp_size": 1,
                "dcp_size": 1,
                "pp_size": 1,
                "remote_num_tokens": tokens,
                "remote_blocks_expiry_time": None,
                "transfer_mode": self.mode,
                "remote_prefill_cached_tokens": leg.cached,
            },
            separators=(",", ":"),
        ).encode()
