"""N planes with a policy each, in front of simulated engines, in virtual time.

What planes know is as old as it is in a router: engines' figures are read every half second, and a tenth of a second
lies between a plane's choice and the other planes' knowing of it. The engines are those of `routerctl sim`.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

import msgspec

from controlplane.sim.config import SimConfig
from controlplane.sim.engine import Engine
from controlplane.sim.engine import Sequence as Work
from dataplane.load import Figures, figures_of, vllm
from dataplane.policies import PlaneView, Policy
from dataplane.prefill import Prefills
from shared.messages import INFLIGHT_INTERVAL, WorkerLoad
from shared.table import ModelCard, RoutingTable, Settings, Worker, make_table

MODEL = "m"
LOAD_INTERVAL = 0.5
_LOOK_EVERY = 0.05
"""Seconds between two looks at an engine that only decodes."""


@dataclass(frozen=True)
class Arrival:
    """A request of a trace: when it comes, in seconds, its prompt as token ids and as a body, its answer's tokens."""

    at: float
    tokens: Sequence[int]
    body: bytes
    answer: int
    fields: dict[bytes, bytes] = field(default_factory=dict)


@dataclass
class Served:
    """What became of it. Times in seconds; `cached` tokens of the prompt were in the worker's cache."""

    worker: str
    plane: int
    at: float
    prompt: int
    cached: int = 0
    first_token: float = 0.0


@dataclass(frozen=True)
class View:
    """A request as the policy sees it; `tokens` is for those that are to know more than a router can."""

    model: str | None
    path: str
    fields: dict[bytes, bytes]
    body: bytes | bytearray
    arrived: float
    tokens: Sequence[int] = ()
    prepared: object = None


class SimWorker:
    """One engine; a restart gives it another, with an empty cache."""

    def __init__(self, worker_id: str, config: SimConfig) -> None:
        self.id = worker_id
        self.config = config
        self.epoch = 1
        self.engine = Engine(config)
        self.planned = False

    def report(self, stuck: WorkerLoad | None) -> WorkerLoad:
        """Return what a scrape would read now."""
        engine = self.engine
        return stuck or WorkerLoad(float(len(engine.running)), float(len(engine.waiting)), engine.kv_usage, 0.0)


class SimCandidate:
    """A worker as one plane sees it."""

    def __init__(self, worker: SimWorker, planes: int) -> None:
        self.worker = worker
        self.id = worker.id
        self.epoch = worker.epoch
        self.weight = 1.0
        self.own = 0
        self.others: int | None = 0
        self.prefills = Prefills()
        self.others_prefill: int | None = 0
        self.engine: WorkerLoad | None = None
        self.seen = 0.0
        self.now = 0.0
        self._planes = planes

    def figures(self) -> Figures:
        """Return what the plane knows."""
        return figures_of(self.own, self.others, self._planes, self.engine, self.now - self.seen)

    def load(self) -> float:
        """Return the load in requests."""
        return vllm(self.figures())

    def prefill(self) -> int:
        """Return the tokens of prompts to compute."""
        own, others = self.prefills.total, self.others_prefill
        return own * self._planes if others is None else own + others


class SimPlane:
    """One plane: its policy, and what it knows of each worker."""

    def __init__(self, slot: int, planes: int, make: Callable[[PlaneView], Policy], seed: int) -> None:
        self.slot = slot
        self.policy = make(PlaneView(slot, random.Random(seed * 1000 + slot)))
        self._planes = planes
        self.candidates: tuple[SimCandidate, ...] = ()

    def follow(self, table: RoutingTable, workers: Iterable[SimWorker]) -> None:
        """Take a new table up, keeping what is known of workers that live on."""
        known = {(one.id, one.epoch): one for one in self.candidates}
        self.candidates = tuple(
            known.get((worker.id, worker.epoch)) or SimCandidate(worker, self._planes) for worker in workers
        )
        self.policy.follow(table)


class Simulation:
    """Runs a trace. `frozen` from a moment on: planes hear neither each other nor the engines any more.

    Answers are `streamed`, or come in one piece: then a plane sees that a prompt is computed when it has the answer.
    """

    def __init__(
        self,
        configs: Sequence[SimConfig],
        make: Callable[[PlaneView], Policy],
        *,
        planes: int = 1,
        settings: Settings | None = None,
        seed: int = 1,
        frozen_from: float = float("inf"),
        streamed: bool = True,
    ) -> None:
        self.workers = [SimWorker(f"http://worker-{number}:8000", config) for number, config in enumerate(configs)]
        self.served: list[Served] = []
        self._settings = msgspec.structs.replace(settings or Settings(), data_planes=planes)
        self._planes = [SimPlane(slot, planes, make, seed) for slot in range(planes)]
        self._version = 0
        self._frozen_from = frozen_from
        self._streamed = streamed
        self._rng = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()
        self._open: dict[Work, tuple[Served, SimCandidate]] = {}
        self._last_arrival = 0.0
        self._publish()

    def at(self, time: float, act: Callable[[float], None]) -> None:
        """Have something done at a moment."""
        heapq.heappush(self._events, (time, next(self._order), act))

    def restart(self, number: int) -> None:
        """Give a worker a new life, as of now."""
        worker = self.workers[number]
        worker.epoch += 1
        worker.engine = Engine(worker.config)
        self._open = {work: held for work, held in self._open.items() if held[1].worker is not worker}
        self._publish()

    def _publish(self) -> None:
        self._version += 1
        records = [
            Worker(id=one.id, url=one.id, epoch=one.epoch, state="ready", models=(MODEL,)) for one in self.workers
        ]
        table = make_table(
            epoch=1,
            version=self._version,
            workers=records,
            models=[ModelCard(id=MODEL, card=b"{}")],
            settings=self._settings,
        )
        for plane in self._planes:
            plane.follow(table, self.workers)

    def run(self, trace: Iterable[Arrival]) -> list[Served]:
        """Serve every request of a trace; return what became of each, in order of arrival."""
        for arrival in trace:
            self._last_arrival = max(self._last_arrival, arrival.at)
            self.at(arrival.at, lambda now, arrival=arrival: self._arrive(arrival, now))  # type: ignore[misc]
        self.at(0.0, self._exchange)
        self.at(0.0, self._scrape)
        while self._events:
            now, _, act = heapq.heappop(self._events)
            act(now)
        return self.served

    def _arrive(self, arrival: Arrival, now: float) -> None:
        plane = self._rng.choice(self._planes)
        for candidate in plane.candidates:
            candidate.now = now
        view = View(MODEL, "/v1/completions", arrival.fields, arrival.body, now, arrival.tokens)
        chosen = plane.policy.pick(plane.candidates, view)
        expected = plane.policy.expected
        chosen.own += 1
        worker = chosen.worker
        self._advance(worker, now)
        served = Served(worker.id, plane.slot, now, len(arrival.tokens))
        self.served.append(served)
        work = Work(arrival.tokens, arrival.answer, 0)
        self._open[work] = (served, chosen)
        chosen.prefills.sent(work, expected)
        worker.engine.submit(work, now)
        self._look(worker, now)

    def _look(self, worker: SimWorker, now: float) -> None:
        """Advance an engine to now, and look again when something may have happened."""
        worker.planned = False
        self._advance(worker, now)
        due = worker.engine.next_time
        if due is not None and not worker.planned:
            worker.planned = True
            self.at(max(due, now + _LOOK_EVERY), lambda later: self._look(worker, later))

    def _advance(self, worker: SimWorker, now: float) -> None:
        for work in worker.engine.advance(now):
            held = self._open.get(work)
            if held is None:
                continue
            served, candidate = held
            if not served.first_token and work.produced:
                served.first_token = work.first_token_at
                served.cached = work.cached
                if self._streamed:
                    candidate.prefills.answered(work)
            if work.finish_reason is not None:
                candidate.own -= 1
                candidate.prefills.answered(work)
                del self._open[work]

    def _is_over(self, now: float) -> bool:
        return now > self._last_arrival and not self._open

    def _exchange(self, now: float) -> None:
        if now < self._frozen_from:
            for plane in self._planes:
                learnt = plane.policy.learnt()
                for other in self._planes:
                    if other is not plane:
                        other.policy.hear(learnt, now)
            for number in range(len(self.workers)):
                told = [plane.candidates[number] for plane in self._planes]
                for candidate in told:
                    candidate.others = sum(one.own for one in told) - candidate.own
                    candidate.others_prefill = sum(one.prefills.total for one in told) - candidate.prefills.total
        else:
            for plane in self._planes:
                for candidate in plane.candidates:
                    candidate.others = candidate.others_prefill = None
        if not self._is_over(now):
            self.at(now + INFLIGHT_INTERVAL, self._exchange)

    def _scrape(self, now: float) -> None:
        if now < self._frozen_from:
            for number, worker in enumerate(self.workers):
                self._advance(worker, now)
                report = worker.report(None)
                for plane in self._planes:
                    plane.candidates[number].engine = report
                    plane.candidates[number].seen = now
        if not self._is_over(now):
            self.at(now + LOAD_INTERVAL, self._scrape)
