"""A plane begins to serve over TLS when its files can be used: they may be half replaced at that moment."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from shared.server_tls import ServerTls, check
from shared.tls import CHECK_INTERVAL, TlsFileError

logger = logging.getLogger(__name__)


async def usable(tls: ServerTls | None, stop: asyncio.Event) -> bool:
    """Wait until the files can be used, if there are any; return False when `stop` was set before."""
    told = ""
    while tls is not None and not stop.is_set():
        try:
            check(tls)
        except TlsFileError as error:
            if str(error) != told:
                told = str(error)
                logger.error("%s; this plane takes no clients until then", told)
        else:
            break
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CHECK_INTERVAL):
                await stop.wait()
    return not stop.is_set()
