"""Finds and follows the KV events of all workers, while a policy of the router's wants them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from controlplane.following import Following
from controlplane.kv_events.feed import Feed, SourceKey, SourceReport
from controlplane.kv_events.pace import Pace
from controlplane.kv_events.publisher import KvPublisher, Teller
from controlplane.kv_events.sockets import REPLAYS_AT_ONCE, Context
from controlplane.kv_events.sources import MAX_ANSWER, PATH, Endpoint, SourcesError, given, told_by_worker
from controlplane.kv_events.subscription import Subscription
from controlplane.registry import Registry
from controlplane.worker_client import FetchError, WorkerClient
from shared.clock import Clock
from shared.config import StartConfig
from shared.config_settings import settings_of
from shared.kv_messages import KvPage, KvRequest
from shared.policy_places import policy_names_of
from shared.table import Worker
from shared.tls import WorkerTls
from shared.worker_url import origin

POLICY = "kv_aware"
LOOK_INTERVAL = 1.0
"""Seconds between two looks at whether a worker was restarted, or has become ready to be asked."""
ASK_AGAIN = 30.0
"""Seconds until a worker that tells of no events is asked again: its next life may."""
_TIMEOUT = 5.0

log = logging.getLogger(__name__)


class KvEvents:
    """Keeps the index current, and the planes' copies of it."""

    def __init__(
        self,
        context: Context,
        registry: Registry,
        config: StartConfig,
        clock: Clock,
        planes: Teller,
        tls: WorkerTls | None = None,
    ) -> None:
        """`planes` are told what changes; `tls` is as in `WorkerClient`."""
        self._feed = Feed(config.kv_index_max_blocks)
        self._publisher = KvPublisher(self._feed, planes)
        self._context = context
        self._registry = registry
        self._clock = clock
        self._pace = Pace(clock.monotonic())
        self._replays = asyncio.Semaphore(REPLAYS_AT_ONCE)
        self._tls = tls
        self._given = given(config.kv_event_source, config.kv_event_replay_source, config.kv_event_block_size)
        self._wanted = asyncio.Event()
        self._unwanted = asyncio.Event()
        self._following: Following | None = None
        self._subscriptions: dict[SourceKey, Subscription] = {}
        self._silent: set[str] = set()
        self._past = (0, 0)
        self.want(config)

    def want(self, config: StartConfig) -> None:
        """Follow, or stop following, as the configuration's policies need."""
        is_wanted = POLICY in policy_names_of(settings_of(config))
        wanted, unwanted = (self._wanted, self._unwanted)[:: 1 if is_wanted else -1]
        wanted.set()
        unwanted.clear()

    def follow(self) -> None:
        """Take note of workers that came or went."""
        if self._following is not None:
            self._following.update()

    def pages(self, request: KvRequest) -> tuple[KvPage, ...]:
        """Return the answer to a plane."""
        return self._publisher.pages(request)

    def report(self) -> tuple[SourceReport, ...]:
        """Return how each source is."""
        return self._feed.report()

    @property
    def is_wanted(self) -> bool:
        """Whether a policy wants the index."""
        return self._wanted.is_set()

    @property
    def messages(self) -> int:
        """Messages read, since the start."""
        return self._past[0] + sum(subscription.messages for subscription in self._subscriptions.values())

    @property
    def malformed(self) -> int:
        """Messages and events dropped as malformed, since the start."""
        return self._past[1] + sum(subscription.malformed for subscription in self._subscriptions.values())

    @property
    def without_events(self) -> frozenset[str]:
        """The workers that tell of no events."""
        return frozenset(self._silent)

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await self._wanted.wait()
            following = self._following = Following(self._registry, self._watch)
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(following.run()), group.create_task(self._publisher.run())]
                    await self._unwanted.wait()
                    for task in tasks:
                        task.cancel()
            finally:
                self._following = None

    async def _watch(self, url: str) -> None:
        try:
            async with WorkerClient(url, keep_alive=False, tls=self._tls) as client:
                while workers := self._registry.at(url):
                    endpoints = self._given.get(origin(url)) or await self._ask(client, workers)
                    if endpoints:
                        self._silent.discard(url)
                        await self._subscribe(workers, endpoints)
        finally:
            self._silent.discard(url)

    async def _ask(self, client: WorkerClient, workers: Sequence[Worker]) -> tuple[Endpoint, ...]:
        """Return what a worker tells; nothing, after a pause, when it is not ready or tells nothing."""
        url = workers[0].url
        if not any(worker.state in ("ready", "draining") for worker in workers):
            await asyncio.sleep(LOOK_INTERVAL)
            return ()
        try:
            answer = await client.get(PATH, limit=MAX_ANSWER, timeout=_TIMEOUT)
            found = told_by_worker(answer.body, url) if answer.status == 200 else ()
            why = f"GET {PATH}: status {answer.status}, no source"
        except (FetchError, SourcesError) as error:
            found, why = (), f"GET {PATH}: {error}"
        if not found:
            if url not in self._silent:
                log.warning(
                    "worker %s tells no KV events (%s); it is chosen by load alone: start it with --kv-events-config, "
                    "or name its endpoint with --kv-event-source",
                    url,
                    why,
                )
            self._silent.add(url)
            await self._unless_changed(workers, ASK_AGAIN)
        return found

    async def _unless_changed(self, workers: Sequence[Worker], seconds: float) -> None:
        """Wait, but not longer than these lives of a server's workers."""
        url, end = workers[0].url, self._clock.monotonic() + seconds
        lives = [(worker.id, worker.epoch) for worker in workers]
        while self._clock.monotonic() < end:
            await asyncio.sleep(LOOK_INTERVAL)
            if [(worker.id, worker.epoch) for worker in self._registry.at(url)] != lives:
                return

    async def _subscribe(self, workers: Sequence[Worker], endpoints: tuple[Endpoint, ...]) -> None:
        """Follow the publishers of a server's workers until one has another life, comes or goes."""
        keys = {
            SourceKey(worker.id, endpoint.rank): endpoint
            for worker in workers
            for endpoint in endpoints
            if worker.rank in (None, endpoint.rank)
        }
        subscriptions = {
            key: Subscription(
                self._context,
                key,
                endpoint,
                self._feed,
                self._publisher.changed,
                self._clock,
                self._pace,
                self._replays,
            )
            for key, endpoint in keys.items()
        }
        self._subscriptions.update(subscriptions)
        log.info("worker %s: following the KV events of %d engine%s", workers[0].url, len(keys), "s"[: len(keys) != 1])
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(subscription.run()) for subscription in subscriptions.values()]
                await self._unless_changed(workers, float("inf"))
                for task in tasks:
                    task.cancel()
        finally:
            for key, subscription in subscriptions.items():
                del self._subscriptions[key]
                self._past = (self._past[0] + subscription.messages, self._past[1] + subscription.malformed)
