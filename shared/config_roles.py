"""The workers of a configuration, wherever it names them, with their roles."""

from __future__ import annotations

import msgspec

from shared.config import StartConfig
from shared.table import Role
from shared.worker_attributes import ConfiguredWorker
from shared.worker_url import origin


def described(config: StartConfig) -> tuple[ConfiguredWorker, ...]:
    """Return what is said of workers: that of the file's tables, and the role that a list of URLs gives."""
    said = {origin(worker.url): worker for worker in config.workers}
    roles: dict[Role, tuple[str, ...]] = {"prefill": config.prefill, "decode": config.decode}
    for role, urls in roles.items():
        for url in urls:
            known = said.get(origin(url), ConfiguredWorker(url=url))
            said[origin(url)] = msgspec.structs.replace(known, role=role)
    return tuple(said.values())
