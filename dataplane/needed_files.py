"""A plane begins to serve when the files that it can not do without can be used: they may be half replaced just then.

Without the certificate there is no port. Without the workers' key each request would get their 401; and a rolling
restart, which goes on once a new plane serves, would make all planes such.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from shared.server_tls import ServerTls, check
from shared.tls import CHECK_INTERVAL, TlsFileError
from shared.worker_key import WorkerKey

logger = logging.getLogger(__name__)


class NeededFiles:
    """Those of one plane. `waits_for` says which of them keeps it from serving, and why; empty when none does."""

    def __init__(self, tls: ServerTls | None, key: WorkerKey) -> None:
        """`tls` is for clients, None without any; `key` is the workers'."""
        self._tls = tls
        self._key = key
        self.waits_for = ""

    async def usable(self, stop: asyncio.Event) -> bool:
        """Wait until all can be used; return False when `stop` was set before."""
        while not stop.is_set() and (fault := self._fault()):
            if fault != self.waits_for:
                self.waits_for = fault
                logger.error("%s; this plane takes no clients until then", fault)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_INTERVAL):
                    await stop.wait()
        if self.waits_for and not stop.is_set():
            self.waits_for = ""
            logger.info("the files that this plane needs can be used: it takes clients")
        return not stop.is_set()

    def _fault(self) -> str:
        if self._tls is not None:
            try:
                check(self._tls)
            except TlsFileError as error:
                return str(error)
        return self._key.missing()
