"""Reads every worker's load, from its `/metrics` or else `/load`. One task per server, so a slow one delays nobody.

They begin together in small groups (`controlplane.turns`).

Data-parallel ranks share a server: its page has the figures of each. What `/load` counts is of all of them together,
and says nothing about one.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from controlplane.following import Following
from controlplane.load_page import EngineLoad, LoadPage, read_engine_loads, read_load_page
from controlplane.loads import Loads
from controlplane.pacing import Pacing
from controlplane.registry import Change, Registry
from controlplane.server_load import MAX_BYTES, ServerLoad
from controlplane.turns import Turns
from controlplane.worker_client import FetchError, WorkerClient
from shared.clock import Clock
from shared.messages import LOAD_UNKNOWN_AFTER
from shared.table import Worker
from shared.tls import WorkerTls
from shared.worker_key import WorkerKey
from shared.worker_rank import split_rank

RANK_PATIENCE = 60.0
"""Seconds in which the ranks of a server may begin to tell their load, each in its time."""
MAX_PAGE_BYTES = 16 * 1024 * 1024
_LONGEST_FAILURE_PAUSE = 5.0
_LONGEST_NO_LOAD_PAUSE = 30.0
"""Seconds until a worker whose `/metrics` has never told load is asked for it again. The first pauses are shorter: vLLM
with several API servers has no gauges before each of its ranks has had a request (seen on 0.32)."""

_EARLY = 0.75
"""The part of an interval by which a reading may come early: one whose answer took long need not miss a turn."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Watched:
    """Failures in a row, what `/load` tells, and when (monotonic) `/metrics` is asked for gauges that it had not.

    `without_gauges` counts the pages in a row that had none.
    """

    failures: int = 0
    without_gauges: int = 0
    gauges_wanted: float = 0.0
    server_load: ServerLoad = field(default_factory=ServerLoad)


class Scraper:
    """Fills `Loads` and tells what else a reading shows.

    Calls `loaded` after each reading, `changed` when a page shows when a worker's process started, for the first time
    or anew, and `refused` with a worker's id and epoch when nobody listens there: the prober then looks, long before
    its next turn.
    """

    def __init__(
        self,
        registry: Registry,
        loads: Loads,
        *,
        interval: float,
        pacing: Pacing,
        clock: Clock,
        loaded: Callable[[], None],
        changed: Callable[[Change], None],
        refused: Callable[[str, int], None],
        inflight_at: Callable[[str], int],
        tls: WorkerTls | None = None,
        key: WorkerKey | None = None,
    ) -> None:
        """`interval` is in seconds between two readings of one worker; `pacing` may make it longer.

        `inflight_at` tells how many requests all planes have at a worker.
        `tls` is for https workers, and `key` what workers ask for, as in `WorkerClient`.
        """
        self._registry = registry
        self._loads = loads
        self._interval = interval
        self._pacing = pacing
        self._clock = clock
        self._loaded = loaded
        self._changed = changed
        self._refused = refused
        self._inflight_at = inflight_at
        self._tls = tls
        self._key = key
        # Since when a worker tells no load (monotonic), and of whom that was said.
        self._silent: dict[str, float] = {}
        self._lamented: set[str] = set()
        self._turns = Turns(random.random())
        self._following = Following(registry, self._watch)

    def use(self, *, interval: float) -> None:
        """Read each worker at this interval (seconds), each from its next reading on."""
        self._interval = interval

    async def run(self) -> None:
        """Read until cancelled."""
        await self._following.run()

    def follow(self) -> None:
        """Take note of workers that came or went."""
        self._following.update()

    async def _watch(self, url: str) -> None:
        try:
            async with WorkerClient(url, keep_alive=True, tls=self._tls, key=self._key) as client:
                await self._keep_reading(client, url)
        finally:
            self._silent = {one: since for one, since in self._silent.items() if split_rank(one)[0] != url}
            self._lamented = {one for one in self._lamented if split_rank(one)[0] != url}

    async def _keep_reading(self, client: WorkerClient, url: str) -> None:
        watched = _Watched()
        now = self._clock.monotonic()
        turn = self._turns.join(now, self._interval)
        try:
            await asyncio.sleep(turn.first(now, now, self._interval) - now)
            while workers := self._registry.at(url):
                self._pacing.look(self._interval)
                interval = pause = self._interval * self._pacing.stretch
                if any(worker.state in ("ready", "draining", "ejected") for worker in workers):
                    pause = await self._look(client, workers, watched, interval)
                now = self._clock.monotonic()
                await asyncio.sleep(turn.first(now, now + pause - _EARLY * interval, interval) - now)
        finally:
            self._turns.leave(turn)

    async def _look(self, client: WorkerClient, workers: Sequence[Worker], watched: _Watched, interval: float) -> float:
        """Read a server's load, if it tells any. Returns the seconds until it should be asked again."""
        if self._clock.monotonic() >= watched.gauges_wanted:
            page = await self._read(client, workers)
            if page is None:
                watched.failures += 1
                return min(interval * 2.0 ** min(watched.failures, 10), max(interval, _LONGEST_FAILURE_PAUSE))
            watched.failures = 0
            if page.load is not None:
                watched.without_gauges = 0
                return interval
            watched.without_gauges += 1
            pause = interval * 2.0 ** min(watched.without_gauges, 10)
            watched.gauges_wanted = self._clock.monotonic() + min(pause, max(interval, _LONGEST_NO_LOAD_PAUSE))
        for worker in workers:
            if worker.rank is not None:
                self._tell_silence(worker)
            elif await self._read_server_load(client, worker, watched.server_load):
                return interval
        return max(interval, watched.gauges_wanted - self._clock.monotonic())

    async def _read(self, client: WorkerClient, workers: Sequence[Worker]) -> LoadPage | None:
        began = self._clock.monotonic()
        try:
            # What arrives later than this would be thrown away at once.
            answer = await client.get("/metrics", limit=MAX_PAGE_BYTES, timeout=LOAD_UNKNOWN_AFTER)
        except FetchError as error:
            self._missed(workers[0], "/metrics", error)
            return None
        if answer.status >= 500:
            return None
        page = read_load_page(answer.body) if answer.status == 200 else LoadPage(None, None)
        has_ranks = page.load is not None and any(worker.rank is not None for worker in workers)
        of_ranks = read_engine_loads(answer.body) if has_ranks else {}
        for worker in workers:
            if page.process_start is not None:
                change = self._registry.process_started(worker.id, page.process_start)
                if change is not None:
                    self._changed(change)
            load = page.load if worker.rank is None else of_ranks.get(worker.rank)
            if load is not None:
                self._note(worker, load, began)
            elif page.load is not None:
                self._tell_silence(worker)
        return page

    async def _read_server_load(self, client: WorkerClient, worker: Worker, server_load: ServerLoad) -> bool:
        """Ask `/load` instead. Returns whether there is such a thing, whatever it says now."""
        began = self._clock.monotonic()
        try:
            answer = await client.get("/load", limit=MAX_BYTES, timeout=LOAD_UNKNOWN_AFTER)
        except FetchError as error:
            self._missed(worker, "/load", error)
            return False
        load = server_load.read(answer.body) if answer.status == 200 else None
        if load is not None:
            self._note(worker, load, began)
        else:
            self._tell_silence(worker)
        return answer.status == 200

    def _missed(self, worker: Worker, path: str, error: FetchError) -> None:
        # Whether the worker is alive is for the prober to decide; here a figure is missing and ages out.
        log.debug("worker %s: GET %s: %s", worker.id, path, error.reason)
        if error.outcome == "refused":
            self._refused(worker.id, worker.epoch)

    def _note(self, worker: Worker, load: EngineLoad, began: float) -> None:
        self._silent.pop(worker.id, None)
        self._lamented.discard(worker.id)
        # An answer that was on its way when the worker's life changed may be of either life.
        current = self._registry.worker(worker.id)
        if current is not None and current.epoch == worker.epoch:
            self._loads.note(worker, load, measured=began, inflight=self._inflight_at(worker.id))
            self._loaded()

    def _tell_silence(self, worker: Worker) -> None:
        now = self._clock.monotonic()
        silence = now - self._silent.setdefault(worker.id, now)
        # The ranks of a server do not all begin at once.
        if worker.id not in self._lamented and silence >= (RANK_PATIENCE if worker.rank is not None else 0.0):
            self._lamented.add(worker.id)
            lack = (
                "no vLLM gauges in /metrics, no count in /load: has it --enable-server-load-tracking?"
                if worker.rank is None
                else f'no vLLM gauges with engine="{worker.rank}" in /metrics: has it so many ranks?'
            )
            log.warning("worker %s tells no load (%s); it is balanced by the requests sent to it", worker.id, lack)
