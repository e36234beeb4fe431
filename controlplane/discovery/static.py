"""Workers that were named when the router was started (`--worker-urls`), and what the configuration says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controlplane.discovery.discovered import Discovered
from shared.worker_attributes import NOTHING_SAID, ConfiguredWorker, WorkerAttributes, attributes_of
from shared.worker_url import origin


def static_workers(urls: Iterable[str], described: Mapping[str, WorkerAttributes] = {}) -> tuple[Discovered, ...]:
    """Return a worker per URL or id, in the order given. A slash at the end makes no other worker."""
    plain = dict.fromkeys(url.rstrip("/") for url in urls)
    return tuple(Discovered(id=key, attributes=described.get(key, NOTHING_SAID)) for key in plain)


def described_workers(urls: Iterable[str], workers: Iterable[ConfiguredWorker]) -> dict[str, WorkerAttributes]:
    """Return what the configuration says of the workers of these URLs, by their ids."""
    said = {origin(worker.url): attributes_of(worker) for worker in workers}
    return {one.id: said[origin(one.url)] for one in static_workers(urls) if origin(one.url) in said}
