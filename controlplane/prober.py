"""Looks at every worker: is it healthy, and which models does it serve. One task per server.

A look at a server counts for all of its workers: data-parallel ranks share one.

What a look means, and when the next one is due, is decided in `controlplane.health` and `controlplane.registry`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from math import inf

import msgspec

from controlplane.following import Following
from controlplane.health import QUICK_PAUSE
from controlplane.model_list import ModelListError, read_models
from controlplane.registry import Change, ProbeResult, Registry
from controlplane.worker_client import Answer, FetchError, WorkerClient
from shared.clock import Clock
from shared.decoding import DECODE_ERRORS
from shared.probe_mark import LOOP_DETECTED
from shared.table import Worker
from shared.tls import WorkerTls
from shared.transfer import bootstrap_url
from shared.worker_key import WorkerKey

MAX_MODELS_BYTES = 4 * 1024 * 1024
MODELS_AGE = 60.0
"""Seconds for which a ready worker's list of models is taken as it was: reading it costs as much as the look itself."""
_MAX_VERSION_BYTES = 64 * 1024
_MAX_VERSION_LENGTH = 64
_MAX_QUERY_BYTES = 1024 * 1024
_ENGINES_PAUSE = 2.0
"""Seconds until a bootstrap server is asked again that did not tell the ids of its engines."""
_STOOD = 1.0
"""Seconds by which a look may overrun its time limit before it is taken for this process' own pause."""

_ITSELF = "this address is the router's own: it can be no worker of itself, take it out of the workers"

log = logging.getLogger(__name__)


class _ItselfError(Exception):
    """The server is this router."""


class _Version(msgspec.Struct):
    version: str


class _Engine(msgspec.Struct):
    engine_id: str


class Prober:
    """Keeps the registry true. Calls `changed` with every record that a look changed."""

    def __init__(
        self,
        registry: Registry,
        *,
        endpoint: str,
        timeout: float,
        clock: Clock,
        changed: Callable[[Change], None],
        bootstrap_port: int | None = None,
        answered: Callable[[str], float] = lambda worker: -inf,
        tls: WorkerTls | None = None,
        key: WorkerKey | None = None,
        mark: str = "",
    ) -> None:
        """`endpoint` is the path that tells health; `timeout` is in seconds for each of a look's requests.

        `bootstrap_port` is where a prefill worker's bootstrap server is unless its record has another port; None:
        there are no such servers.
        `answered` tells when a worker last answered a request of a plane, in monotonic seconds.
        `tls` is for https workers, `key` what workers ask for, and `mark` whose looks these are, as in `WorkerClient`.
        """
        self._registry = registry
        self._endpoint = endpoint
        self._timeout = timeout
        self._bootstrap_port = bootstrap_port
        self._clock = clock
        self._changed = changed
        self._answered = answered
        self._tls = tls
        self._key = key
        self._mark = mark
        self._wakes: dict[str, asyncio.Event] = {}
        self._no_models: set[str] = set()
        self._no_engines: set[str] = set()
        # By URL; the former says when each server last told its models, the latter who waits for the next look.
        self._told_models: dict[str, float] = {}
        self._awaited: dict[str, list[asyncio.Event]] = {}
        self._following = Following(registry, self._watch)

    async def run(self) -> None:
        """Look at the workers until cancelled."""
        await self._following.run()

    def follow(self) -> None:
        """Take note of workers that came or went."""
        self._following.update()
        # A rank that came to a server may have to wait for long until that is due.
        for url, wake in self._wakes.items():
            if any(self._registry.pause(worker.id) == 0.0 for worker in self._registry.at(url)):
                wake.set()

    def use(self, *, endpoint: str, timeout: float, bootstrap_port: int | None = None) -> None:
        """Look like this from now on, and at once: the next look may be far off by the interval that was."""
        self._endpoint = endpoint
        self._timeout = timeout
        self._bootstrap_port = bootstrap_port
        for wake in self._wakes.values():
            wake.set()

    def suspect(self, worker_id: str, epoch: int) -> None:
        """Take in evidence against a worker's life: look at its server now, and quickly until it is decided."""
        worker = self._registry.worker(worker_id)
        if worker is None or not self._registry.suspect(worker_id, epoch):
            return
        for other in self._registry.at(worker.url):
            self._registry.suspect(other.id, other.epoch)
        if (wake := self._wakes.get(worker.url)) is not None:
            wake.set()

    async def reread(self, urls: Iterable[str], patience: float) -> None:
        """Ask servers for their models again, now, and wait until all were looked at; `patience` seconds at most."""
        looks = []
        for url in urls:
            self._told_models.pop(url, None)
            if (wake := self._wakes.get(url)) is not None:
                looked = asyncio.Event()
                looks.append(looked.wait())
                self._awaited.setdefault(url, []).append(looked)
                wake.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await asyncio.gather(*looks)

    def renewed(self, worker: Worker) -> None:
        """Take note of a new life, whose engines have other ids."""
        wake = self._wakes.get(worker.url)
        if wake is not None and self._lacks_engines([worker]):
            wake.set()

    async def _watch(self, url: str) -> None:
        wake = self._wakes[url] = asyncio.Event()
        try:
            await self._keep_looking(url, wake)
        finally:
            # One that came back meanwhile has a wake of its own.
            if self._wakes.get(url) is wake:
                del self._wakes[url]
                self._no_models.discard(url)
                self._no_engines.discard(url)
                self._told_models.pop(url, None)
                self._looked(self._awaited.pop(url, ()))

    @staticmethod
    def _looked(awaited: Iterable[asyncio.Event]) -> None:
        for look in awaited:
            look.set()

    async def _keep_looking(self, url: str, wake: asyncio.Event) -> None:
        spread = False
        while workers := self._registry.at(url):
            wake.clear()
            if awaited := self._awaited.pop(url, ()):
                # A look that was under way may have read the list of before.
                self._told_models.pop(url, None)
            began, timeout = self._clock.monotonic(), self._timeout
            result = await self._look(url, workers)
            if result.outcome != "ok" and self._clock.monotonic() - began > timeout + _STOOD:
                # The worker may have answered while this process stood (SIGSTOP, a frozen container): the time limits
                # ended before the answer was read. The second look counts however long it takes.
                result = await self._look(url, workers)
            answering = any(self._answered(worker.id) >= began for worker in workers)
            is_new = any(worker.state == "ready" and not worker.reason for worker in workers)
            if result.outcome == "unclear" and answering and is_new:
                log.info("worker %s answers requests, but not its check: %s", url, result.reason)
            for worker in workers:
                change = self._registry.probed(
                    worker.id,
                    result,
                    now=self._clock.monotonic(),
                    wall=round(self._clock.wall(), 3),
                    answering=answering,
                )
                if change is not None:
                    self._changed(change)
            self._looked(awaited)
            # Shorter by up to a tenth, so that looks at many workers do not fall together; those that were all found
            # ready at one moment are spread over the whole time at once.
            shortest = 0.9 if spread or result.outcome != "ok" else 0.0
            spread |= result.outcome == "ok"
            pauses = [self._registry.pause(worker.id) or 0.0 for worker in self._registry.at(url)]
            pause = min(pauses, default=0.0) * random.uniform(shortest, 1.0)
            if result.outcome == "ok" and self._lacks_engines(self._registry.at(url)):
                pause = min(pause, _ENGINES_PAUSE)
            try:
                async with asyncio.timeout(pause):
                    await wake.wait()
            except TimeoutError:
                continue
            # However many planes complain, looks stay this far apart.
            await asyncio.sleep(began + QUICK_PAUSE - self._clock.monotonic())

    async def _look(self, url: str, workers: Sequence[Worker]) -> ProbeResult:
        began = self._clock.monotonic()
        try:
            return await self._look_at(url, workers, began)
        except _ItselfError:
            return ProbeResult("failed", _ITSELF, seconds=self._clock.monotonic() - began)

    async def _look_at(self, url: str, workers: Sequence[Worker], began: float) -> ProbeResult:
        # A new connection each time: whether the worker takes one is half of the question.
        async with WorkerClient(url, keep_alive=False, tls=self._tls, key=self._key, mark=self._mark) as client:
            try:
                answer = await client.get(self._endpoint, limit=0, timeout=self._timeout)
            except FetchError as error:
                return ProbeResult(error.outcome, error.reason, seconds=self._clock.monotonic() - began)
            took = self._clock.monotonic() - began
            _check_loop(answer)
            if not 200 <= answer.status < 300:
                return ProbeResult("failed", f"GET {self._endpoint} answered {answer.status}", seconds=took)
            is_new = any(self._registry.lacks_version(worker.id) for worker in workers)
            version = await self._version(client, url) if is_new else None
            wants_models = is_new or any(self._wants_models(worker) for worker in workers)
            models = await self._models(client, url) if wants_models else None
        port, engines = self._bootstrap_of(workers), None
        if port is not None:
            engines = await self._engines(url, port)
        return ProbeResult("ok", "", models, version, took, engines, port)

    def _bootstrap_of(self, workers: Sequence[Worker]) -> int | None:
        """Return the port to ask for the ids of engines, if there is one: each life of a worker has others."""
        if self._bootstrap_port is None or all(worker.role != "prefill" for worker in workers):
            return None
        known = (worker.transfer.bootstrap_port for worker in workers if worker.transfer is not None)
        return next((port for port in known if port is not None), self._bootstrap_port)

    def _lacks_engines(self, workers: Sequence[Worker]) -> bool:
        wanted = self._bootstrap_of(workers) is not None
        return wanted and any(self._registry.lacks_engines(worker.id) for worker in workers)

    async def _engines(self, url: str, port: int) -> dict[str, str] | None:
        where = bootstrap_url(url, port)
        # In the clear, and without the key: it is another server, which knows of neither.
        async with WorkerClient(where, keep_alive=False) as client:
            try:
                answer = await client.get("/query", limit=_MAX_QUERY_BYTES, timeout=self._timeout)
                engines = msgspec.json.decode(answer.body, type=dict[str, _Engine]) if answer.status == 200 else {}
                reason = "" if engines else f"status {answer.status}"
            except (FetchError, *DECODE_ERRORS) as error:
                engines, reason = {}, str(error)
        if engines:
            self._no_engines.discard(url)
            return {rank: engine.engine_id for rank, engine in engines.items() if rank.isdecimal()}
        if url not in self._no_engines:
            self._no_engines.add(url)
            log.warning(
                "prefill worker %s is in no pair: its bootstrap server does not tell its engines (GET %s/query: %s)",
                url, where, reason,
            )  # fmt: skip
        return None

    def _wants_models(self, worker: Worker) -> bool:
        told = self._told_models.get(worker.url)
        if told is None or worker.models is None or worker.state != "ready":
            return True
        # Looks come up to a tenth before their time: one a minute reads the list each time.
        return self._clock.monotonic() - told >= 0.9 * MODELS_AGE

    async def _models(self, client: WorkerClient, url: str) -> dict[str, bytes] | None:
        try:
            answer = await client.get("/v1/models", limit=MAX_MODELS_BYTES, timeout=self._timeout)
            _check_loop(answer)
            if answer.status == 200:
                models = read_models(answer.body)
                self._no_models.discard(url)
                self._told_models[url] = self._clock.monotonic()
                return models
            reason = f"status {answer.status}"
        except (FetchError, ModelListError) as error:
            reason = str(error)
        if url not in self._no_models:
            self._no_models.add(url)
            log.warning("worker %s does not tell its models (GET /v1/models: %s)", url, reason)
        return None

    async def _version(self, client: WorkerClient, url: str) -> str | None:
        try:
            answer = await client.get("/version", limit=_MAX_VERSION_BYTES, timeout=self._timeout)
            return msgspec.json.decode(answer.body, type=_Version).version[:_MAX_VERSION_LENGTH]
        except (FetchError, *DECODE_ERRORS) as error:
            # Only shown to people; a server that is not vLLM need not have it.
            log.debug("worker %s does not tell its version: %s", url, error)
            return None


def _check_loop(answer: Answer) -> None:
    """Raise _ItselfError if a plane of this router has answered: of a path that it passes on it would not tell."""
    if answer.status == LOOP_DETECTED:
        raise _ItselfError
