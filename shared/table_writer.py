"""Keeps the newest table on disk: the control plane for the planes beside it, a plane on another host for itself."""

from __future__ import annotations

import asyncio
import logging

from shared.messages import encode
from shared.runtime_dir import RuntimeDir, write_atomically
from shared.table import RoutingTable

RETRY_PAUSE = 1.0
"""Seconds after which a table that could not be written is tried again."""

log = logging.getLogger(__name__)


class TableWriter:
    """Keeps the newest table on disk, without ever making the one who notes it wait.

    A disk that does not take it is tried again, as there may be room later and no other change to bring it.
    """

    def __init__(self, runtime: RuntimeDir) -> None:
        self._runtime = runtime
        self._table: RoutingTable | None = None
        self._noted = asyncio.Event()
        self._is_failing = False

    def note(self, table: RoutingTable) -> None:
        """Have this table written soon; tables noted in between are skipped."""
        self._table = table
        self._noted.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            try:
                async with asyncio.timeout(RETRY_PAUSE if self._is_failing else None):
                    await self._noted.wait()
            except TimeoutError:
                log.debug("trying to keep the table once more")
            self._noted.clear()
            if self._table is not None:
                await asyncio.to_thread(self._write, self._table)

    def _write(self, table: RoutingTable) -> None:
        try:
            write_atomically(self._runtime.table, encode(table))
        except OSError as error:
            if not self._is_failing:
                log.error("can not keep the table in %s: %s", self._runtime.table, error.strerror)
            self._is_failing = True
        else:
            if self._is_failing:
                log.info("the table is kept in %s again", self._runtime.table)
            self._is_failing = False
