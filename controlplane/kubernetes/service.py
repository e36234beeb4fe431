"""Discovery of pods: lists and watches them, and turns them into members.

While the API server can not be asked, or says what can not be true, the members stay as they were. What changes is told
to the membership in one piece, at most once per `PACE`, as with workers that register.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Protocol, get_args

from controlplane.discovery.discovered import Announced, Source
from controlplane.discovery.few import few
from controlplane.events.event import about
from controlplane.kubernetes.client import MAX_PAGES, ApiError, KubernetesClient, Reason
from controlplane.kubernetes.credentials import Credentials, CredentialsError
from controlplane.kubernetes.objects import PodEvent
from controlplane.kubernetes.pods import Rules, Wanted, workers_of
from controlplane.kubernetes.replica import Replica
from controlplane.kubernetes.status import KubernetesState, KubernetesStatus
from shared.clock import Clock
from shared.config import ConfigError, StartConfig
from shared.silence import Complaints

PACE = 0.05
"""Seconds between changes of the membership."""
RELIST = 600.0
"""Seconds after which the pods are listed anew, whatever a watch says: a list is the truth, and few cost nothing."""
EMPTY_FOR = 5.0
"""Seconds before an empty list is believed: longer than a server takes to fill its cache after a start."""
SHORTEST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
"""Seconds between tries, before up to half of it is taken off by chance: routers do not all ask at a time."""
_SHORT_WATCH = 1.0

log = logging.getLogger(__name__)


class Members(Protocol):
    """Who is told of the workers."""

    async def discover(
        self, announced: Mapping[str, Announced], *, goodbyes: Collection[str] = (), source: Source = "kubernetes"
    ) -> None:
        """Have exactly these workers of those that `source` tells of."""
        ...

    def discovered(self, source: Source = "kubernetes") -> Mapping[str, Announced]:
        """Return those that there are."""
        ...


class KubernetesService:
    """Does it for one life of the control plane."""

    def __init__(self, config: StartConfig, members: Members, clock: Clock) -> None:
        self._config = config
        self._members = members
        self._clock = clock
        self._rules = Rules.of(config)
        self._replica = Replica(self._rules)
        self._changed = asyncio.Event()
        self._complaints = Complaints()
        self._wanted = Wanted({})
        self._state: KubernetesState = "starting"
        self._since = clock.monotonic()
        # When the present watch began; None while there is none.
        self._watched: float | None = None
        self._reason = ""
        self._is_told = False
        self.failures: Counter[Reason] = Counter(dict.fromkeys(get_args(Reason), 0))
        self.lists = 0

    async def run(self, *, required: bool) -> None:
        """Follow the pods until cancelled. Where there are no credentials, raise ConfigError if `required`."""
        if required:
            try:
                self._credentials()
            except CredentialsError as error:
                raise ConfigError(str(error)) from None
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell_changes())
            group.create_task(self._follow())

    def status(self) -> KubernetesStatus:
        """Return how it goes now."""
        return KubernetesStatus(
            state=self._state,
            age=round(self._age(), 3),
            reason=self._reason,
            pods=len(self._replica.pods),
            workers=len(self._members.discovered("kubernetes")),
            left_out=self._wanted.left_out,
        )

    def _age(self) -> float:
        return self._clock.monotonic() - self._since

    def _credentials(self) -> Credentials:
        return Credentials.find(os.environ, self._config.service_discovery_credentials)

    # --- the API server --------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        tries = 0
        while True:
            try:
                await self._follow_for_a_while()
                tries = 0
            except ApiError as error:
                # A watch that ends as soon as it begins is no success.
                has_lasted = self._watched is not None and self._clock.monotonic() - self._watched >= LONGEST_PAUSE
                tries, self._watched = 1 if has_lasted else tries + 1, None
                self._failed(error, tries)
                pause = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** min(tries - 1, 10))
                await asyncio.sleep(max(min(error.wait, LONGEST_PAUSE), pause * random.uniform(0.5, 1.0)))

    async def _follow_for_a_while(self) -> None:
        """List the pods, and watch them until it is time for another list. Raises ApiError."""
        try:
            credentials = self._credentials()
        except CredentialsError as error:
            raise ApiError("forbidden", str(error)) from None
        namespace, selector = self._config.service_discovery_namespace, self._rules.label_selector()
        async with KubernetesClient(credentials, namespace, selector) as client:
            await self._list(client)
            self._changed.set()
            listed = self._clock.monotonic()
            while (begun := self._clock.monotonic()) - listed < RELIST:
                async for event in client.watch(self._replica.version, self._reached):
                    if isinstance(event, PodEvent):
                        self._replica.seen(event)
                        self._changed.set()
                    else:
                        self._replica.version = event.version or self._replica.version
                if self._clock.monotonic() - begun < _SHORT_WATCH:
                    raise ApiError("server", "the API server ends watches as soon as they begin")

    async def _list(self, client: KubernetesClient) -> None:
        """Go by a list of all pods. Raises ApiError."""
        version = await self._pages(client)
        if self._replica.is_doubtful(has_workers=bool(self._members.discovered("kubernetes"))):
            self._complain("the API server tells of no pod, where there were workers; it is asked again")
            await asyncio.sleep(EMPTY_FOR)
            version = await self._pages(client)
        self._replica.listed(version)

    async def _pages(self, client: KubernetesClient) -> str:
        """Take all pages of a list in; returns its resource version. Raises ApiError."""
        self._replica.begin()
        after = ""
        for _ in range(MAX_PAGES):
            page = await client.page(after)
            version = page.metadata.resource_version
            if not (after := self._replica.page(page)):
                self.lists += 1
                return version
        raise ApiError("malformed", f"the list of pods has no end: {MAX_PAGES} pages were read")

    def _reached(self) -> None:
        self._watched = self._clock.monotonic()
        if self._state == "following":
            return
        if self._state == "starting":
            log.info("Kubernetes: following pods with %s", self._rules.label_selector() or "any of the selectors")
        elif self._is_told:
            text = "Kubernetes: the API server tells of pods again, after %.0f s"
            log.info(text, self._age(), extra=about("discovery", "kubernetes"))
        self._is_told = False
        self._state, self._since, self._reason = "following", self._clock.monotonic(), ""

    def _failed(self, error: ApiError, tries: int) -> None:
        self.failures[error.reason] += 1
        # Watches are cut off, or too old, day by day. The list that follows misses nothing.
        if self._state == "following" and tries == 1:
            return
        reason = str(error)
        if self._state != "unreached":
            self._state, self._since = "unreached", self._clock.monotonic()
        if self._complaints.is_due(reason, self._clock.monotonic()):
            self._is_told = True
            text = "Kubernetes: the API server does not tell of pods, workers stay as they were: %s"
            log.warning(text, reason, extra=about("discovery", "kubernetes"))
        self._reason = reason

    # --- the membership --------------------------------------------------------------------------------------

    async def _tell_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._tell()
            await asyncio.sleep(PACE)

    async def _tell(self) -> None:
        known = self._members.discovered("kubernetes")
        wanted = self._wanted = workers_of(self._replica.pods.values(), self._rules, known)
        for complaint in wanted.complaints:
            self._complain(complaint)
        if wanted.left_out:
            left_out = "1 worker is" if wanted.left_out == 1 else f"{wanted.left_out} workers are"
            self._complain(f"{left_out} left out: there may be {len(wanted.announced)}")
        gone = [key for key in known if key not in wanted.announced]
        for what, keys in (("come", [key for key in wanted.announced if key not in known]), ("go", gone)):
            if keys:
                log.info("Kubernetes: pods %s: %s", what, few(keys))
        # Who goes may be at work still, also one whose pod is gone: the cluster's word may be older than the labels.
        await self._members.discover(wanted.announced, goodbyes=gone, source="kubernetes")

    def _complain(self, text: str) -> None:
        if self._complaints.is_due(text, self._clock.monotonic()):
            log.warning("Kubernetes: %s", text)
