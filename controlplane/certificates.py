"""Certificates of the router's own ports that were replaced come into use without a restart and without a lost request.

Servers read their files once. So the data port's planes are replaced one by one, as in any rolling restart, and the
admin port gets a new server beside the old one (`listener.py`). A replacement that can not be used, or is half done,
changes nothing and is logged once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from controlplane.events.event import about
from controlplane.supervisor_socket import NoSupervisorError, Restarting
from shared.server_tls import ServerTls, check, identity
from shared.tls import CHECK_INTERVAL, TlsFileError

RETRY_PAUSE = 5.0
"""Seconds until planes are asked to be replaced again, when that could not be done."""

log = logging.getLogger(__name__)


async def replaced(tls: ServerTls, seen: tuple[object, ...]) -> tuple[object, ...]:
    """Wait until the files are others than those `seen` and can be used; return what they are by then."""
    told = ""
    while True:
        await asyncio.sleep(CHECK_INTERVAL)
        now = identity(tls)
        if now == seen:
            continue
        try:
            await asyncio.to_thread(check, tls)
        except TlsFileError as error:
            if str(error) != told:
                told = str(error)
                log.error("%s; the certificate before stays in use", told, extra=about("configuration"))
        else:
            # Written to while they were read: what can be used may not be all of it.
            if identity(tls) == now:
                return now


def is_older(planes: Iterable[float], files: tuple[object, ...]) -> bool:
    """Whether a plane was started (Unix seconds) before a file was written last, so that it has another one in use."""
    written = [one[-1] / 1e9 for one in files if isinstance(one, tuple) and one]
    return any(started < max(written, default=0.0) for started in planes)


class Certificates:
    """Follows those of the data port."""

    def __init__(self, tls: ServerTls, planes: Callable[[], Iterable[float]], restart: Restarting) -> None:
        """`planes` tells when each plane that runs was started; `restart` replaces them."""
        self._tls = tls
        self._planes = planes
        self._restart = restart

    async def run(self) -> None:
        """Have planes replaced whenever the files were, until cancelled."""
        seen = identity(self._tls)
        if is_older(self._planes(), seen):
            # Replaced while there was no control plane to see it.
            seen = ()
        while True:
            seen = await replaced(self._tls, seen)
            log.info(
                "%s was replaced: replacing the planes", " or ".join(self._tls.flags), extra=about("configuration")
            )
            while (reason := await self._try()) is not None:
                log.warning("planes still have the certificate before: %s", reason, extra=about("configuration"))
                await asyncio.sleep(RETRY_PAUSE)

    async def _try(self) -> str | None:
        """Return why the planes were not all replaced; None when they were."""
        try:
            done = await self._restart(())
        except NoSupervisorError as error:
            return str(error)
        return None if done.outcome == "restarted" else done.reason
