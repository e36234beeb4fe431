"""Whether the supervisor lives, as the control plane sees it: nobody else is left to write down that it died."""

from __future__ import annotations

import asyncio
import logging

from controlplane.events.event import about
from shared.process import is_alive
from shared.runtime_dir import RuntimeDir, SupervisorRecord, read_record

INTERVAL = 1.0
"""Seconds between two looks, each of which reads a small file."""

log = logging.getLogger(__name__)


class SupervisorWatch:
    """Knows when to say that the supervisor is gone, and that there is one again."""

    def __init__(self, runtime: RuntimeDir) -> None:
        self._runtime = runtime
        self._gone: int | None = None

    def look(self) -> None:
        """Log what is news."""
        record = read_record(self._runtime.supervisor, SupervisorRecord)
        if record is None:
            # A control plane that was started by hand has none.
            return
        told = about("process", "supervisor")
        if is_alive(record):
            if self._gone is not None:
                self._gone = None
                log.info("supervisor (pid %d) runs", record.pid, extra=told)
        elif self._gone != record.pid:
            self._gone = record.pid
            text = "supervisor (pid %d) is gone: nothing restarts what dies until `routerctl start` takes over"
            log.error(text, record.pid, extra=told)

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            self.look()
