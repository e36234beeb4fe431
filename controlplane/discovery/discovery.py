"""Discovery over ZeroMQ as the rest of the control plane sees it: off, or a service that is loaded when it runs."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING

from controlplane.registry import Registry
from shared.clock import Clock
from shared.config import StartConfig

if TYPE_CHECKING:
    from controlplane.discovery.service import DiscoveryService
    from controlplane.membership import Membership
    from controlplane.prober import Prober


class Discovery:
    """Does nothing, and holds nothing, until it runs and where it is not configured."""

    def __init__(self, config: StartConfig) -> None:
        self._config = config
        self.service: DiscoveryService | None = None

    async def run(
        self, membership: Membership, registry: Registry, prober: Prober, clock: Clock, *, is_first_start: bool
    ) -> None:
        """Listen for registrations until cancelled.

        At the first start an address that can not be had is a ConfigError; later it is tried again and again.
        """
        if not self._config.takes_registrations:
            # Of an earlier control plane, that listened.
            await membership.discover({})
            return
        await asyncio.to_thread(importlib.import_module, "controlplane.discovery.service")
        from controlplane.discovery.service import DiscoveryService

        def look(worker_id: str) -> None:
            worker = registry.worker(worker_id)
            if worker is not None:
                prober.suspect(worker_id, worker.epoch)

        self.service = DiscoveryService(self._config, membership, registry, clock, look=look)
        await self.service.run(required=is_first_start)
