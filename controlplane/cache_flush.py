"""Empties the prefix caches of all workers, for vllm-router's `/flush_cache`.

vLLM has `/reset_prefix_cache` where it was started with VLLM_SERVER_DEV_MODE=1. `/flush_cache`, the only one that
vllm-router asks, is asked of a server that does not have the former.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

import msgspec

from controlplane.worker_client import FetchError, WorkerClient
from shared.tls import WorkerTls
from shared.worker_key import WorkerKey

FLUSH_WITHIN = 4.0
"""Seconds for all workers together: a plane waits 5 s for the control plane's answer."""
_AT_ONCE = 64
_PATHS = ("/reset_prefix_cache", "/flush_cache")
_MISSING = (404, 405)

log = logging.getLogger(__name__)


class Flushed(msgspec.Struct, frozen=True, kw_only=True):
    """The workers whose cache is empty, and why the others' may not be, by their URLs."""

    flushed: tuple[str, ...]
    failed: dict[str, str]


async def flush_caches(urls: Iterable[str], tls: WorkerTls | None = None, key: WorkerKey | None = None) -> Flushed:
    """Ask every worker, `_AT_ONCE` at a time, and log who did not do it."""
    pending = list(urls)
    turns = asyncio.Semaphore(_AT_ONCE)
    deadline = asyncio.get_running_loop().time() + FLUSH_WITHIN

    async def flush(url: str) -> str:
        async with turns:
            return await _flush(url, deadline - asyncio.get_running_loop().time(), tls, key)

    reasons = await asyncio.gather(*(flush(url) for url in pending))
    failed = {url: reason for url, reason in zip(pending, reasons, strict=True) if reason}
    for url, reason in failed.items():
        log.warning("the cache of worker %s was not flushed: %s", url, reason)
    return Flushed(flushed=tuple(url for url in pending if url not in failed), failed=failed)


async def _flush(url: str, timeout: float, tls: WorkerTls | None, key: WorkerKey | None) -> str:
    """Return why a worker's cache may not be empty; an empty text when it is."""
    status = 0
    try:
        async with asyncio.timeout(timeout), WorkerClient(url, keep_alive=False, tls=tls, key=key) as client:
            for path in _PATHS:
                status = (await client.post(path, timeout=FLUSH_WITHIN)).status
                if status not in _MISSING:
                    break
    except FetchError as error:
        return error.reason
    except TimeoutError:
        return f"no answer within {FLUSH_WITHIN:g} s"
    if status in _MISSING:
        return f"it has neither {' nor '.join(_PATHS)}; start vLLM with VLLM_SERVER_DEV_MODE=1"
    return "" if 200 <= status < 300 else f"status {status}"
