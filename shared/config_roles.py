"""The workers of a configuration, wherever it names them, with their roles."""

from __future__ import annotations

import msgspec

from shared.config import StartConfig
from shared.table import Role
from shared.transfer_attributes import TransferAttributes
from shared.worker_attributes import ConfiguredWorker
from shared.worker_url import origin


def described(config: StartConfig) -> tuple[ConfiguredWorker, ...]:
    """Return what is said of workers: by the file's tables, and by the lists of URLs (a role, a bootstrap port)."""
    said = {origin(worker.url): worker for worker in config.workers}
    roles: dict[Role, tuple[str, ...]] = {"prefill": config.prefill_urls, "decode": config.decode}
    for role, urls in roles.items():
        for url in urls:
            known = said.get(origin(url), ConfiguredWorker(url=url))
            said[origin(url)] = msgspec.structs.replace(known, role=role)
    for url, port in config.bootstrap_ports.items():
        known = said[origin(url)]
        transfer = msgspec.structs.replace(known.transfer or TransferAttributes(), bootstrap_port=port)
        said[origin(url)] = msgspec.structs.replace(known, transfer=transfer)
    return tuple(said.values())
