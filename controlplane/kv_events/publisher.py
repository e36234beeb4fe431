"""Tells the planes what the feed has: changes at once, all of a source when asked, how far each is every second."""

from __future__ import annotations

import asyncio
from typing import Protocol

from controlplane.kv_events.feed import Feed, SourceKey
from shared.kv_messages import STANDING_INTERVAL, KvPage, KvRequest, KvStanding, KvUpdate
from shared.table import Stamp

COALESCE = 0.02
"""Seconds in which changes are gathered: an engine tells of each of its steps by itself."""


class Teller(Protocol):
    """Whoever has the sockets to the planes."""

    @property
    def stamp(self) -> Stamp:
        """The present table's."""
        ...

    def tell(self, message: KvUpdate | KvStanding) -> None:
        """Publish a message to all planes."""
        ...


class KvPublisher:
    """Has the planes told of a feed."""

    def __init__(self, feed: Feed, planes: Teller) -> None:
        self._feed = feed
        self._planes = planes
        self._dirty = asyncio.Event()

    def changed(self) -> None:
        """Have the feed looked at soon."""
        self._dirty.set()

    def pages(self, request: KvRequest) -> tuple[KvPage, ...]:
        """Return the answer to a plane."""
        self._flush()
        return tuple(self._feed.pages(self._planes.stamp, SourceKey(request.worker, request.rank), request.request_id))

    async def run(self) -> None:
        """Publish until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._publish_updates())
            group.create_task(self._publish_standings())

    async def _publish_updates(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(COALESCE)
            self._dirty.clear()
            self._flush()

    async def _publish_standings(self) -> None:
        while True:
            self._flush()
            self._planes.tell(self._feed.standing(self._planes.stamp))
            await asyncio.sleep(STANDING_INTERVAL)

    def _flush(self) -> None:
        for update in self._feed.updates(self._planes.stamp):
            self._planes.tell(update)
