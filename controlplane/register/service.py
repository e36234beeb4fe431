"""One run of `routerctl register`: puts together what the command line said."""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from controlplane.register.agent import Agent
from controlplane.register.announcing import is_loopback
from controlplane.register.engine import Engine
from controlplane.register.given import Given
from controlplane.register.own_address import NoAddressError, advertised, with_address
from shared.client_key_files import ClientKeyFiles
from shared.clock import SystemClock
from shared.remote_address import TcpAddress
from shared.tls import SYSTEM, TlsConfig, WorkerTls
from shared.worker_key import WorkerKey

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to announce, and where. `advertise` is the URL for routers, None: to be found out.

    `keys` are the files of our own secret and of the routers' public keys; None: none are used. `startup_timeout` is in
    seconds, 0 is for ever.
    """

    given: Given
    url: str
    advertise: str | None
    routers: tuple[TcpAddress, ...]
    keys: tuple[Path, Path] | None = None
    tls: TlsConfig = SYSTEM
    api_key_file: str | None = None
    startup_timeout: float = 0.0


def run(plan: Plan) -> int:
    """Announce until a signal; return the exit code."""
    try:
        url = advertised(plan.url, plan.routers) if plan.advertise is None else with_address(plan.advertise)
    except NoAddressError as error:
        print(f"routerctl: error: {error}", file=sys.stderr)
        return 1
    if url != plan.url:
        log.info("%s is announced as %s", plan.url, url)
    if plan.keys is None and not all(is_loopback(router.host) for router in plan.routers):
        log.info("no keys: whoever is on the way can read and change what is announced (--keys, --server-key)")
    if is_loopback(urlsplit(url).hostname or "") and not all(is_loopback(router.host) for router in plan.routers):
        log.warning("%s is announced to routers elsewhere, where that is another host", url)
    return asyncio.run(_announce(plan, url))


async def _announce(plan: Plan, url: str) -> int:
    clock = SystemClock()
    tls, key = WorkerTls(plan.tls), WorkerKey(plan.api_key_file)
    files = () if plan.keys is None else tuple(ClientKeyFiles(*plan.keys) for _ in plan.routers)
    async with Engine(plan.url, url, clock, tls=tls, key=key) as engine:
        agent = Agent(
            plan.given, engine, url, plan.routers, files, clock, Random(), startup_timeout=plan.startup_timeout
        )
        return await agent.run()
