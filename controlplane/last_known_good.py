"""What a control plane leaves on disk for its successor and for planes that start without one: epoch and table."""

from __future__ import annotations

import asyncio
import logging

from shared.messages import MessageError, decode_table, encode
from shared.runtime_dir import RuntimeDir, write_atomically
from shared.table import RoutingTable

log = logging.getLogger(__name__)

RETRY_PAUSE = 1.0
"""Seconds after which a table that could not be written is tried again."""


def read_table(runtime: RuntimeDir) -> RoutingTable | None:
    """Return the table that an earlier control plane published last; None when there is none that can be read."""
    try:
        return decode_table(runtime.table.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, MessageError) as error:
        log.warning("the last known good table %s can not be read: %s", runtime.table, error)
        return None


def read_epoch(runtime: RuntimeDir) -> int:
    """Return the last epoch that was used; 0 when none is known."""
    try:
        return int(runtime.epoch.read_text())
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        log.warning("the last epoch in %s can not be read: %s", runtime.epoch, error)
        return 0


def next_epoch(earlier: int, wall: float) -> int:
    """Return an epoch above all earlier ones. `wall` (Unix seconds) keeps epochs rising when the files are lost."""
    return max(earlier + 1, int(wall * 1000))


def write_epoch(runtime: RuntimeDir, epoch: int) -> None:
    """Store the epoch. A disk that does not take it is logged: the clock keeps the next epoch above this one."""
    try:
        write_atomically(runtime.epoch, str(epoch).encode())
    except OSError as error:
        log.error("can not store the epoch in %s: %s", runtime.epoch, error.strerror)


class TableWriter:
    """Keeps the newest table on disk, without ever making the publisher wait.

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
