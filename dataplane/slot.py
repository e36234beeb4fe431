"""One life of one worker as the plane sees it: its connections, what is in flight, how busy it is."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dataplane.client_rank import rank_line
from dataplane.histogram import Timings
from dataplane.load import Figures, figures_of, vllm
from dataplane.load_header import ASK_AFTER, QueueFigures
from dataplane.outcomes import Outcomes
from dataplane.pd.connector import Peer
from dataplane.prefill import Prefills
from dataplane.priority import rank_of
from dataplane.upstream.pool import Pool
from shared.messages import LOAD_UNKNOWN_AFTER, WorkerLoad
from shared.table import Worker
from shared.transfer import Transfer

if TYPE_CHECKING:
    from dataplane.fleet import Fleet


class Slot:
    """One life of one worker. `inflight` is exact: it counts this plane's own requests there.

    `has_left` when it drains or is in the table no more: it must get no request that was not sent yet. `rank` groups
    the workers (`dataplane.priority`), `weight` is the share within a group. `own_lines` are the end of a request's
    `Host` line and the field of a data-parallel rank (`dataplane.client_rank`), `peer` what a connector sees of the
    worker (`dataplane.pd`).
    """

    __slots__ = (
        "_asked",
        "_capacity",
        "_engine",
        "_engine_seen",
        "_fleet",
        "_queue_told",
        "_read",
        "authority",
        "data_parallel_rank",
        "epoch",
        "has_left",
        "id",
        "inflight",
        "others",
        "others_prefill",
        "outcomes",
        "own_lines",
        "peer",
        "pool",
        "prefills",
        "rank",
        "timings",
        "url",
        "weight",
    )

    def __init__(self, fleet: Fleet, worker: Worker, pool: Pool, authority: bytes, timings: Timings) -> None:
        """`timings` are the worker's over all its lives, where this one's are added."""
        self._fleet = fleet
        self.id = worker.id
        self.url = worker.url
        self.data_parallel_rank = worker.rank
        self.epoch = worker.epoch
        self.pool = pool
        self.authority = authority
        self.own_lines = authority + b"\r\n" + rank_line(worker.rank)
        self.inflight = 0
        self.others = 0
        self.prefills = Prefills()
        self.others_prefill = 0
        self.outcomes = Outcomes()
        self.timings = timings
        self._engine: WorkerLoad | None = None
        self._engine_seen = 0.0
        # When the engine's page was read last, and when an answer told of its queue last.
        self._read = -inf
        self._queue_told = -inf
        self._asked = -inf
        self.follow(worker)

    def follow(self, worker: Worker) -> None:
        """Go by what a table says of the worker in this life."""
        self.has_left = worker.state == "draining"
        transfer = worker.transfer or Transfer()
        self.peer = Peer(worker.id, worker.url, worker.rank, worker.version, worker.models, transfer)
        self.rank = rank_of(worker)
        # Those of weight 0 are in groups of their own, with equal shares.
        self.weight = worker.weight or 1.0
        self._capacity = worker.capacity or 1.0

    def figures(self) -> Figures:
        """Return what is known of the worker's load."""
        fleet = self._fleet
        others = None if fleet.stale else self.others
        age = self.engine_age(fleet.now())
        return figures_of(self.inflight, others, fleet.view.settings.data_planes, self._engine, age, self._capacity)

    def engine_age(self, now: float) -> float:
        """Return how old the engine's figures are, in seconds; infinite when there are none."""
        return inf if self._engine is None else self._engine.age + now - self._engine_seen

    def load(self) -> float:
        """How busy the worker is, in requests; see `dataplane.load`."""
        return vllm(self.figures())

    def prefill(self) -> int:
        """Return the tokens of prompts it has still to compute; see `dataplane.prefill`.

        The plane's own are exact, the others' as they told; they are N times its own while the control plane is silent.
        """
        own = self.prefills.total
        fleet = self._fleet
        return own * fleet.view.settings.data_planes if fleet.stale else own + self.others_prefill

    def engine_requests(self, now: float) -> int | None:
        """Return how many requests the engine runs and has waiting, as it said; None when that is too old."""
        engine = self._engine
        if engine is None or now - self._read >= LOAD_UNKNOWN_AFTER:
            return None
        return int(engine.running + engine.waiting)

    def set_engine(self, engine: WorkerLoad, now: float) -> None:
        """Keep the engine's newest figures; `now` is the loop's time in seconds."""
        known, told = self._engine, self._queue_told
        self._read = now - engine.age
        if known is not None and told > self._read:
            engine = WorkerLoad(engine.running, known.waiting, known.kv_usage, now - told)
        self._engine = engine
        self._engine_seen = now

    def asks_for_load(self, now: float) -> bool:
        """Whether the next request should ask the engine for its load; True starts the time until the one after."""
        # Its answers tell of all ranks of the server together.
        if self.data_parallel_rank is not None or now - max(self._asked, self._queue_told, self._read) < ASK_AFTER:
            return False
        self._asked = now
        return True

    def set_queue(self, figures: QueueFigures, now: float) -> None:
        """Keep what an answer told just now. It does not say how many requests run: that is the last reading's."""
        known = self._engine
        is_known = known is not None and now - self._read < LOAD_UNKNOWN_AFTER
        running = known.running if known is not None and is_known else 0.0
        self._engine = WorkerLoad(running, figures.waiting, figures.kv_usage, 0.0)
        self._engine_seen = self._queue_told = now
