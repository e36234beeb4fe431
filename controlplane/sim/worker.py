"""One simulated worker: its engines, its faults and what it has seen."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING

from . import answers, errors, faults, responses, wire
from .config import SimConfig
from .connection import Connection
from .exchange import Exchange
from .kv_transfer import CONNECTORS, EngineSide
from .kv_transfer.handoffs import Handoffs
from .rank import Rank
from .recorder import Recorder
from .routes import route
from .stream_error import ErrorStream

if TYPE_CHECKING:
    from .service import Service

_UNCOUNTED = (b"/health", b"/load", b"/ping", b"/version", b"/metrics", b"/sim/")


class Worker:
    """A worker; everything in it runs on one event loop."""

    def __init__(self, index: int, config: SimConfig, service: Service) -> None:
        self.index = index
        self.url = ""
        self.config = config
        self.service = service
        self.loop: asyncio.AbstractEventLoop = service.loop
        self.clock = wire.Clock()
        self.wall = time.time
        self.started_at = time.time()
        self.ranks = tuple(Rank(number, config, service.loop) for number in range(config.data_parallel_size))
        self.recorder = Recorder(config.record)
        self.faults = faults.FaultSet(seed=index)
        self.connections: set[Connection] = set()
        self.fingerprint = answers.fingerprint(config.models)
        self.served_counts: dict[tuple[str, str, str], int] = {}
        """Answers by (route, method, "2xx"...), for `http_requests_total`."""
        self.busy_page = b""
        """What `/metrics` told last while something ran or waited."""
        self.handoffs = Handoffs(config.kv_lease_seconds)
        self.engine_ids = self._new_engine_ids()
        connector = config.kv_connector
        self.kv_transfer: EngineSide | None = CONNECTORS[connector](self) if connector is not None else None
        self.bootstrap_port: int | None = None
        self.fetches: set[asyncio.Task[None]] = set()
        self.responses: responses.Store = responses.Store()
        self.adapters: dict[str, str] = {}
        """LoRA adapters' paths by their names."""

    def _new_engine_ids(self) -> tuple[str, ...]:
        """Return what the engines of a life are called, by rank."""
        return tuple(str(uuid.uuid4()) for _ in self.ranks)

    @property
    def load(self) -> int:
        """What `/load` says: requests in the engines, or always 0 when it was not asked to track."""
        return sum(rank.requests for rank in self.ranks) if self.config.server_load_tracking else 0

    def model(self, name: str | None) -> str:
        """Return the model's name for the answer, or raise the 404."""
        if not name:
            return self.config.models[0]
        if name not in self.config.models and name not in self.adapters:
            raise errors.unknown_model(name, self.config.models)
        return name

    def rank(self, wanted: bytes | None) -> Rank:
        """Return the engine for a request with that `x-data-parallel-rank`, or raise the 400.

        What is no number is passed over, as vLLM does, and then the emptiest one is taken.
        """
        try:
            number = int(wanted) if wanted is not None else None
        except ValueError:
            number = None
        if number is None:
            return min(self.ranks, key=lambda rank: rank.score)
        if not 0 <= number < len(self.ranks):
            raise errors.ApiError(400, f"data_parallel_rank {number} is out of range [0, {len(self.ranks)}).")
        return self.ranks[number]

    # -- requests

    def dispatch(self, exchange: Exchange) -> None:
        """Answer a request, now or later, after the faults it meets before its headers."""
        if self.faults and exchange.record is not None:  # what is not recorded is control of the simulator
            exchange.meeting = self.faults.meet(exchange.request.target.decode("latin-1"))
        if exchange.meeting is None:
            self._answer(exchange)
            return
        slow = exchange.meeting.get(faults.Slow)
        if slow is not None:
            self.loop.call_later(slow.seconds, self._answer_faulty, exchange, exchange.meeting)
        else:
            self._answer_faulty(exchange, exchange.meeting)

    def _answer_faulty(self, exchange: Exchange, meeting: faults.Meeting) -> None:
        if exchange.ended:
            return
        stall, die = meeting.get(faults.Stall), meeting.get(faults.Die)
        status, event = meeting.get(faults.Status), meeting.get(faults.ErrorEvent)
        if stall is not None and stall.after_chunks is None:
            return
        if die is not None and die.after_chunks is None:
            exchange.connection.reset()
        elif status is not None:
            retry = b"" if status.retry_after is None else b"retry-after: %d\r\n" % status.retry_after
            exchange.send(status.status, retry + wire.JSON, errors.server_error(status.status))
        elif event is not None:
            ErrorStream.answer(exchange, event.code)
        else:
            self._answer(exchange)

    def _answer(self, exchange: Exchange) -> None:
        request = exchange.request
        if self._unauthorized(exchange):
            # The check stands before the CORS layer, so this one answer has no `vary`.
            exchange.send(401, wire.JSON, b'{"error":"Unauthorized"}', vary=False)
            return
        try:
            handler = route(request.path, request.method, exchange.connection.routes, has_lora=self.config.enable_lora)
            handler(self, exchange)
        except errors.ApiError as error:
            exchange.send(error.status, error.headers + wire.JSON, error.body)

    def _unauthorized(self, exchange: Exchange) -> bool:
        key, request = self.config.api_key, exchange.request
        if key is None or not request.path.startswith((b"/v1", b"/v2", b"/inference")) or request.method == b"OPTIONS":
            return False
        scheme, _, token = (request.header(b"authorization") or b"").partition(b" ")
        return scheme.lower() != b"bearer" or token != key.encode()

    def served(self, exchange: Exchange) -> None:
        """Count an answer as vLLM's HTTP instrumentation does."""
        path = exchange.request.path
        if exchange.status is None or path.startswith(_UNCOUNTED):
            return
        handler = path.decode("latin-1") if exchange.status not in (404, 405) else "none"
        key = (handler, exchange.request.method.decode("latin-1"), f"{exchange.status // 100}xx")
        self.served_counts[key] = self.served_counts.get(key, 0) + 1

    # -- life and death

    def kill(self, *, sparing: Connection | None = None) -> None:
        """Be dead: no listener, and every connection reset, but for the one that asked for it."""
        self.faults.add(faults.Die(worker=True))
        self.handoffs.clear()
        self.responses.clear()
        self.adapters.clear()
        self.engine_ids = self._new_engine_ids()
        self.service.apply(self)
        for connection in list(self.connections):
            if connection is not sparing:
                connection.reset()

    def close_idle(self) -> None:
        """Close the connections that wait for a request."""
        for connection in list(self.connections):
            if connection.idle:
                connection.close()

    def stop(self) -> None:
        """Drop everything: the process ends."""
        for connection in list(self.connections):
            connection.abort()
        for fetch in self.fetches:
            fetch.cancel()
        for rank in self.ranks:
            rank.stop()
