"""A process' own record in the runtime folder, by which others find it: written again when it is not there any more.

The disk may have been full when the process began, and somebody may have removed or torn the file since.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import msgspec

from shared.file_identity import file_identity
from shared.runtime_dir import read_record, write_record

INTERVAL = 1.0
"""Seconds between two looks, each of which is one stat where nothing has changed."""

log = logging.getLogger(__name__)


class OwnRecord:
    """Keeps one record in its place."""

    def __init__(self, path: Path, record: msgspec.Struct) -> None:
        """Write nothing yet."""
        self._path = path
        self._record = record
        self._seen: tuple[int, ...] | None = None
        self._told: str | None = None

    def tend(self) -> None:
        """Write the record where it is missing or is another one. What hinders that is logged once."""
        found = file_identity(str(self._path))
        if found is not None and found == self._seen:
            return
        try:
            if read_record(self._path, type(self._record)) != self._record:
                write_record(self._path, self._record)
        except OSError as error:
            # The supervisor has noted the process down too, if it could; it is needed more than its record.
            if error.strerror != self._told:
                self._told = error.strerror
                log.error("can not write %s: %s; trying again", self._path, error.strerror)
            return
        self._told = None
        self._seen = file_identity(str(self._path))

    async def run(self) -> None:
        """Tend it until cancelled."""
        while True:
            self.tend()
            await asyncio.sleep(INTERVAL)
