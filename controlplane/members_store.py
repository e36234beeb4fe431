"""Keeps what operators changed about the members, for the next life of the control plane."""

from __future__ import annotations

import asyncio
import logging

from controlplane.discovery.runtime import RuntimeMembers, configure
from shared.runtime_dir import RuntimeDir, read_record, write_record

log = logging.getLogger(__name__)


def read_members(runtime: RuntimeDir, configured: RuntimeMembers) -> RuntimeMembers:
    """Return what an earlier control plane kept, brought to the present configuration as a reload would."""
    kept = read_record(runtime.members, RuntimeMembers)
    return configure(kept, configured) if kept is not None else configured


class MembersStore:
    """Writes one state after the other, without ever making the publisher wait."""

    def __init__(self, runtime: RuntimeDir) -> None:
        self._runtime = runtime
        self._turn = asyncio.Lock()
        self._newest: RuntimeMembers | None = None

    async def keep(self, state: RuntimeMembers) -> bool:
        """Write it. Returns whether it, or a newer one, is on disk now; what failed is logged."""
        self._newest = state
        async with self._turn:
            try:
                await asyncio.to_thread(write_record, self._runtime.members, self._newest)
            except OSError as error:
                log.error(
                    "can not keep the members in %s: %s; a restart of the control plane forgets the change",
                    self._runtime.members,
                    error.strerror,
                )
                return False
        return True
