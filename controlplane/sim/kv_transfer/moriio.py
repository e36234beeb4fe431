"""MoRIIOConnector, READ and WRITE: the two find each other by addresses in the request's name.

From vLLM's sources (`moriio_common.py`, `moriio_connector.py`); it needs AMD's hardware, so none of this was seen:

- a prefill worker finds the decode worker by the second address, and a decode worker the prefill worker by the first,
  unless the order has `remote_host`, `remote_handshake_port` and `remote_notify_port`; neither: the engine ends
- an order without `transfer_id`: the engine ends
- READ: the decode worker reads what the prefill's answer names; a decode without it takes its blocks for filled, and
  says something wrong
- WRITE: either leg may come first; a decode whose transfer id nobody has waits
- a decode worker takes every request for one whose KV cache comes: one without an order gets a wrong answer (READ), or
  none (WRITE)
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import ClassVar, NamedTuple
from urllib.parse import urlsplit

from .base import NO_HANDOFF, WRONG, EngineDeadError, EngineSide, Fetched, Leg, Loading
from .handoffs import UnreachableError, taken

_PREFILL = re.compile(r"___prefill_addr_(.+?)___decode_addr_")
_DECODE = re.compile(r"___decode_addr_(.+)_[0-9a-f]{32}(?:-.*)?$")


class Peer(NamedTuple):
    """Where the other worker is."""

    host: str
    handshake: int
    notify: int


class Moriio(EngineSide):
    """One role: a worker is a decode worker unless it is a producer."""

    name: ClassVar[str] = "moriio"

    @property
    def zmq_address(self) -> str:
        """The HTTP port stands for both of its ports."""
        parts = urlsplit(self.worker.url)
        return f"host:{parts.hostname},handshake:{parts.port},notify:{parts.port}"

    @property
    def _reads(self) -> bool:
        return self.config.kv_mode == "read"

    def load(self, leg: Leg) -> Loading | None:
        """Get what the order names."""
        order = leg.order
        if order and "transfer_id" not in order:
            raise EngineDeadError
        if self.is_producer:
            if order.get("do_remote_decode"):
                _peer(leg, _DECODE)
            return None
        if not order.get("do_remote_prefill"):
            return self._of_nobody(leg)
        if not self._reads:
            return self._fetched(leg, _peer(leg, _PREFILL), {"wait": self.config.kv_wait_seconds})
        if not order.get("remote_block_ids") or "remote_engine_id" not in order:
            return self._of_nobody(leg)
        return self._fetched(leg, _peer(leg, _PREFILL), {"engine": order["remote_engine_id"]})

    async def _of_nobody(self, leg: Leg) -> Fetched | None:
        if self._reads:
            return Fetched(WRONG, len(leg.prompt))
        await asyncio.Event().wait()
        return None

    async def _fetched(self, leg: Leg, peer: Peer, query: dict[str, object]) -> Fetched | None:
        try:
            seed = await taken(self.worker, peer.host, peer.handshake, str(leg.order["transfer_id"]), **query)
        except UnreachableError:
            return None
        if seed is None:
            return Fetched(WRONG, len(leg.prompt)) if self._reads else None
        return Fetched(seed, len(leg.prompt))

    def finished(self, leg: Leg, seed: int, *, by_length: bool) -> bytes:
        """Keep the blocks, if that was the order; key for key as vLLM's sources."""
        order, worker = leg.order, self.worker
        if not order.get("do_remote_decode") or not by_length:
            return NO_HANDOFF
        worker.handoffs.keep(str(order["transfer_id"]), seed, worker.loop.time())
        parts = urlsplit(worker.url)
        blocks = -(-len(leg.prompt) // self.config.block_size)
        return json.dumps(
            {
                "do_remote_prefill": True,
                "do_remote_decode": False,
                "remote_block_ids": list(range(1, blocks + 1)),
                "remote_engine_id": worker.engine_ids[0],
                "remote_host": parts.hostname,
                "remote_handshake_port": parts.port,
                "remote_notify_port": parts.port,
                "remote_dp_size": len(worker.ranks),
                "tp_size": 1,
                "transfer_id": order["transfer_id"],
            },
            separators=(",", ":"),
        ).encode()


def _peer(leg: Leg, label: re.Pattern[str]) -> Peer:
    """Return where the other worker is. Raises EngineDeadError."""
    order = leg.order
    said = (order.get("remote_host"), order.get("remote_handshake_port"), order.get("remote_notify_port"))
    try:
        if None in said:
            found = label.search(leg.request_id)
            parts = dict(part.split(":", 1) for part in found.group(1).split(",")) if found is not None else {}
            said = (parts["host"], parts["handshake"], parts["notify"])
        return Peer(str(said[0]), int(str(said[1])), int(str(said[2])))
    except (KeyError, ValueError) as error:
        raise EngineDeadError from error
