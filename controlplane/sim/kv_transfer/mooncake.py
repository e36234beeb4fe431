"""MooncakeConnector: the two find each other by a transfer id, over the prefill worker's bootstrap server.

As seen with vLLM 0.32:

- `GET /query` of the bootstrap server, on a port of its own, tells the engine id of each rank, new in each life
- either leg may come first
- another engine id: 500 at once; a transfer id that nobody has: it waits; no bootstrap server: it waits, then 500
- a key missing, or the wrong role: the engine ends
- a prefill that did not end by its length hands nothing over, and its answer never tells anything
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from controlplane.sim import wire
from controlplane.sim.exchange import Exchange

from .base import NO_HANDOFF, EngineDeadError, EngineSide, Fetched, Leg, Loading, require
from .handoffs import UnreachableError, ask, taken

if TYPE_CHECKING:
    from controlplane.sim.worker import Worker

_PAUSE = 0.5


class Mooncake(EngineSide):
    """Both roles, unless the worker has one."""

    name: ClassVar[str] = "mooncake"

    def load(self, leg: Leg) -> Loading | None:
        """Fetch what has the order's transfer id."""
        order = leg.order
        if order.get("do_remote_decode"):
            if self.is_consumer:
                raise EngineDeadError
            require(order, "transfer_id")
        if not order.get("do_remote_prefill"):
            return None
        if self.is_producer:
            raise EngineDeadError
        require(order, "remote_bootstrap_addr", "remote_engine_id", "transfer_id")
        return self._fetched(leg)

    async def _fetched(self, leg: Leg) -> Fetched | None:
        order, wait = leg.order, self.config.kv_wait_seconds
        try:
            async with asyncio.timeout(wait):
                engines = await _query(self.worker, str(order["remote_bootstrap_addr"]))
            engine = next((one for one in engines.values() if one["engine_id"] == order["remote_engine_id"]), None)
            if engine is None:
                return None
            address = urlsplit(engine["worker_addr"]["0"]["0"])
            transfer = str(order["transfer_id"])
            seed = await taken(
                self.worker, address.hostname or "", address.port or 0, transfer, engine=engine["engine_id"], wait=wait
            )
        except (UnreachableError, TimeoutError):
            return None
        return None if seed is None else Fetched(seed, len(leg.prompt))

    def finished(self, leg: Leg, seed: int, *, by_length: bool) -> bytes:
        """Keep the blocks; the answer tells nothing of it."""
        if leg.order.get("do_remote_decode") and by_length:
            self.worker.handoffs.keep(str(leg.order["transfer_id"]), seed, self.worker.loop.time())
        return NO_HANDOFF


async def _query(worker: Worker, bootstrap: str) -> dict[str, Any]:
    """Ask a bootstrap server until it answers."""
    parts = urlsplit(bootstrap)
    while True:
        try:
            answer: dict[str, Any] = json.loads(
                await ask(worker, parts.hostname or "", parts.port or 0, "GET", "/query")
            )
            return answer
        except (UnreachableError, ValueError):
            await asyncio.sleep(_PAUSE)


def query(worker: Worker, exchange: Exchange) -> None:
    """Answer the bootstrap server's `GET /query`: engines by rank, with the address by tensor and pipeline rank."""
    parts = urlsplit(worker.url)
    address = f"tcp://{parts.hostname}:{parts.port}"
    engines = {
        str(rank): {"engine_id": engine, "worker_addr": {"0": {"0": address}}}
        for rank, engine in enumerate(worker.engine_ids)
    }
    exchange.send(200, wire.JSON, json.dumps(engines).encode())
