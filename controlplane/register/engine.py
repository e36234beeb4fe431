"""Asks the engine: whether it is there, and what it tells of itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, NamedTuple

from controlplane.kv_events.sources import MAX_ANSWER, PATH, SourcesError, told_by_worker
from controlplane.model_list import ModelListError, read_models
from controlplane.register.facts import Facts, UnreadableError, merged, metrics, server_info, version
from controlplane.scraper import MAX_PAGE_BYTES
from controlplane.worker_client import FetchError, WorkerClient
from shared.clock import Clock
from shared.silence import Complaints
from shared.tls import WorkerTls
from shared.worker_key import WorkerKey

HEALTH = "/health"
TIMEOUT = 5.0
"""Seconds for each answer; an engine that compiles its kernels may hold them up for longer, and is asked again."""
SERVER_INFO_TIMEOUT = 30.0
"""Seconds: vLLM collects facts about the whole host for it, by starting processes."""
FACTS_AGE = 10.0
"""Seconds after which the facts are asked for again: adapters come and go, and a quick restart shows in them."""
_MAX_MODELS_BYTES = 4 * 1024 * 1024
_MAX_SMALL = 64 * 1024
_MAX_SERVER_INFO = 4 * 1024 * 1024
_REFUSALS = {401: "it asks for a key; give it with --api-key-file", 403: "it forbids that"}

log = logging.getLogger(__name__)

Standing = Literal["serves", "gone", "unwell"]


class Look(NamedTuple):
    """What one look found; `facts` are there when it serves, `reason` when it does not."""

    standing: Standing
    facts: Facts | None = None
    reason: str = ""


class Engine:
    """One engine. An async context manager that closes its connection."""

    def __init__(
        self,
        url: str,
        advertised: str,
        clock: Clock,
        *,
        tls: WorkerTls | None = None,
        key: WorkerKey | None = None,
    ) -> None:
        """`advertised` is the URL by which others reach it; `tls` and `key` are as in `WorkerClient`."""
        self._client = WorkerClient(url, keep_alive=True, tls=tls, key=key)
        self._url = url
        self._advertised = advertised
        self._clock = clock
        self._facts: Facts | None = None
        self._asked = 0.0
        self._complaints = Complaints()

    async def __aenter__(self) -> Engine:
        """Open nothing yet."""
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Close the connection that was kept."""
        await self._client.__aexit__(*exception)

    async def look(self) -> Look:
        """Ask for its health, and for the facts when they are old or it was not well. Never raises for an answer."""
        try:
            answer = await self._client.get(HEALTH, limit=0, timeout=TIMEOUT)
        except FetchError as error:
            # What was known may be of an earlier life by the next answer.
            self._asked = 0.0
            if error.outcome == "refused":
                self._facts = None
                return Look("gone", reason=error.reason)
            return Look("unwell", reason=error.reason)
        if not 200 <= answer.status < 300:
            self._asked = 0.0
            return Look("unwell", reason=f"GET {HEALTH} answered {answer.status}")
        now = self._clock.monotonic()
        if self._facts is None or not self._asked or now - self._asked >= FACTS_AGE:
            await self._ask(now)
        return Look("serves", facts=self._facts)

    async def _ask(self, now: float) -> None:
        page = await self._read("/metrics", MAX_PAGE_BYTES, metrics)
        is_first = self._facts is None or (
            page.process_start is not None and page.process_start != self._facts.process_start
        )
        known = Facts() if is_first or self._facts is None else self._facts
        known = merged(known, page)
        if is_first:
            known = merged(known, await self._read("/version", _MAX_SMALL, version))
            info = "/server_info?config_format=json"
            known = merged(known, await self._read(info, _MAX_SERVER_INFO, server_info, timeout=SERVER_INFO_TIMEOUT))
        known = merged(known, await self._read("/v1/models", _MAX_MODELS_BYTES, _models))
        self._facts = merged(known, await self._read(PATH, MAX_ANSWER, self._kv_events))
        self._asked = now

    def _kv_events(self, body: bytes) -> Facts:
        return Facts(kv_events=told_by_worker(body, self._advertised))

    async def _read(self, path: str, limit: int, read: Callable[[bytes], Facts], *, timeout: float = TIMEOUT) -> Facts:
        """Return what an answer tells; nothing when there is none."""
        try:
            answer = await self._client.get(path, limit=limit, timeout=timeout)
            if answer.status == 200:
                return read(answer.body)
            # A server need not have these paths.
            if answer.status in (404, 405):
                return Facts()
            reason = f"status {answer.status}"
            if answer.status in _REFUSALS:
                reason += f", {_REFUSALS[answer.status]}"
        except (FetchError, UnreadableError, ModelListError, SourcesError) as error:
            reason = str(error)
        cause = f"GET {path}: {reason}"
        if self._complaints.is_due(cause, self._clock.monotonic()):
            log.warning("%s does not tell all of itself (%s)", self._url, cause)
        return Facts()


def _models(body: bytes) -> Facts:
    return Facts(models=tuple(read_models(body)))
