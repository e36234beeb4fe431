"""Workers that come by themselves, as the rest of the control plane sees that: services, loaded when they run."""

from __future__ import annotations

import asyncio
import importlib
from typing import TYPE_CHECKING

from controlplane.registry import Registry
from shared.clock import Clock
from shared.config import StartConfig

if TYPE_CHECKING:
    from controlplane.discovery.service import DiscoveryService
    from controlplane.kubernetes.service import KubernetesService
    from controlplane.kubernetes.status import KubernetesStatus
    from controlplane.membership import Membership
    from controlplane.prober import Prober


class Discovery:
    """Does nothing, and holds nothing, until it runs and where it is not configured."""

    def __init__(self, config: StartConfig) -> None:
        self._config = config
        self.service: DiscoveryService | None = None
        self.kubernetes: KubernetesService | None = None

    async def run(
        self, membership: Membership, registry: Registry, prober: Prober, clock: Clock, *, is_first_start: bool
    ) -> None:
        """Listen for registrations and follow pods until cancelled.

        At the first start an address that can not be had, and an API server that nothing is known of, is a ConfigError;
        later it is tried again and again.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(membership, registry, prober, clock, required=is_first_start))
            group.create_task(self._follow_pods(membership, clock, required=is_first_start))

    def kubernetes_status(self) -> KubernetesStatus | None:
        """Return how discovery of pods goes; None where it is off."""
        return self.kubernetes.status() if self.kubernetes is not None else None

    async def _listen(
        self, membership: Membership, registry: Registry, prober: Prober, clock: Clock, *, required: bool
    ) -> None:
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
        await self.service.run(required=required)

    async def _follow_pods(self, membership: Membership, clock: Clock, *, required: bool) -> None:
        if not self._config.service_discovery:
            await membership.discover({}, source="kubernetes")
            return
        await asyncio.to_thread(importlib.import_module, "controlplane.kubernetes.service")
        from controlplane.kubernetes.service import KubernetesService

        self.kubernetes = KubernetesService(self._config, membership, clock)
        await self.kubernetes.run(required=required)
