"""A request that waits for KV cache from another worker before it is generated."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import wire
from .errors import ApiError
from .exchange import Exchange, Pull
from .kv_transfer.base import Fetched, Loading
from .stream_error import ErrorStream

if TYPE_CHECKING:
    from .worker import Worker


class Loader:
    """Waits, for the time that the transfer takes, and as long as the client stays."""

    def __init__(
        self,
        worker: Worker,
        exchange: Exchange,
        loading: Loading,
        generate: Callable[[Fetched | None], None],
        opening: bytes | None,
    ) -> None:
        """Come before `generate`; `opening` is the event that comes before an error in a stream."""
        self._worker = worker
        self._exchange = exchange
        self._loading = loading
        self._generate = generate
        self._opening = opening
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to fetch."""
        self._exchange.watch(self)
        task = self._task = self._worker.loop.create_task(self._load())
        self._worker.fetches.add(task)
        task.add_done_callback(self._worker.fetches.discard)

    async def _load(self) -> None:
        fetched = await self._loading
        if fetched is None:
            # The exchange has no more use for us.
            ErrorStream.answer(self._exchange, 500, self._opening)
            return
        config = self._worker.config
        await asyncio.sleep(config.time_scale * fetched.tokens / config.kv_transfer_tokens_per_second)
        try:
            self._generate(fetched)
        except ApiError as error:
            self._exchange.send(error.status, error.headers + wire.JSON, error.body)

    def pull(self) -> bytes | Pull:
        """Return nothing: there is no answer yet."""
        return Pull.WAIT

    def cancel(self) -> None:
        """Fetch no more: the client is gone."""
        if self._task is not None:
            self._task.cancel()
