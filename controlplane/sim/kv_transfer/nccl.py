"""P2pNcclConnector, as up to vLLM 0.13: the prefill worker sends to the decode worker that the request's name tells.

Both engines know the KV cache by the request's name, so both legs need the same `X-Request-Id` and the same endpoint.
(Since 0.14 each engine puts digits of its own behind it, unless VLLM_DISABLE_REQUEST_ID_RANDOMIZATION is set.)

- a request whose name tells no addresses ends the engine, on either side
- what does not come is waited for without end
"""

from __future__ import annotations

import asyncio
import re
from math import inf
from typing import ClassVar
from urllib.parse import urlsplit

from .base import NO_HANDOFF, EngineDeadError, EngineSide, Fetched, Leg, Loading, without_suffix
from .handoffs import UnreachableError, taken

_PREFILL = re.compile(r"___prefill_addr_(.*):(\d+)___")
_DECODE = re.compile(r"___decode_addr_(.*):(\d+)")


class Nccl(EngineSide):
    """One role: a worker is a prefill worker unless it is a consumer."""

    name: ClassVar[str] = "nccl"

    @property
    def zmq_address(self) -> str:
        """The HTTP port stands for its port."""
        return urlsplit(self.worker.url).netloc

    def load(self, leg: Leg) -> Loading | None:
        """Wait for what the prefill worker sends."""
        found = (_PREFILL if self.is_consumer else _DECODE).search(leg.request_id)
        if found is None:
            raise EngineDeadError
        return self._received(leg, found.group(1), int(found.group(2))) if self.is_consumer else None

    async def _received(self, leg: Leg, host: str, port: int) -> Fetched | None:
        to = _DECODE.search(leg.request_id)
        if to is not None and f"{to.group(1)}:{to.group(2)}" == self.zmq_address:
            try:
                seed = await taken(self.worker, host, port, without_suffix(leg.request_id), wait=inf)
                return Fetched(seed, len(leg.prompt))
            except UnreachableError:
                pass
        await asyncio.Event().wait()
        return None

    def finished(self, leg: Leg, seed: int, *, by_length: bool) -> bytes:
        """Send what was computed."""
        if not self.is_consumer:
            self.worker.handoffs.keep(without_suffix(leg.request_id), seed, self.worker.loop.time())
        return NO_HANDOFF
