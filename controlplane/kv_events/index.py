"""The KV index as the rest of the control plane sees it, also before the modules are loaded that it needs."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING

from controlplane.kv_events.feed import SourceReport
from controlplane.registry import Registry
from shared.clock import Clock
from shared.config import StartConfig
from shared.kv_messages import KvPage, KvRequest
from shared.sockets import Context

if TYPE_CHECKING:
    from controlplane.kv_events.publisher import Teller
    from controlplane.kv_events.service import KvEvents
    from shared.tls import WorkerTls


class KvIndex:
    """Does nothing, and holds nothing, until it runs."""

    def __init__(self, config: StartConfig) -> None:
        self._config = config
        self.events: KvEvents | None = None

    def use(self, config: StartConfig) -> None:
        """Go by another configuration: what its policy needs counts, and the rest at the next start."""
        self._config = config
        if self.events is not None:
            self.events.want(config)

    def follow(self) -> None:
        """Take note of workers that came or went."""
        if self.events is not None:
            self.events.follow()

    def pages(self, request: KvRequest) -> tuple[KvPage, ...]:
        """Return the answer to a plane."""
        return self.events.pages(request) if self.events is not None else ()

    def report(self) -> tuple[SourceReport, ...]:
        """Return how each source is."""
        return self.events.report() if self.events is not None else ()

    async def run(self, context: Context, registry: Registry, clock: Clock, planes: Teller, tls: WorkerTls) -> None:
        """Follow the workers' events until cancelled; `planes` are told of them."""
        await asyncio.to_thread(importlib.import_module, "controlplane.kv_events.service")
        from controlplane.kv_events.service import KvEvents

        self.events = KvEvents(context, registry, self._config, clock, planes, tls)
        await self.events.run()
