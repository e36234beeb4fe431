"""The plane's breakers: tripped at once by what the plane itself saw, then led by the control plane's table.

The machine is `shared.breaker`'s; a worker without a failure has none here. What the table says of a breaker replaces
the plane's own state whenever it changes. Time and probes are the control plane's to give while it leads a breaker; a
plane helps itself where the table says nothing of a breaker that it opened, and everywhere while the control plane is
silent.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from math import inf
from typing import Generic, Literal, NamedTuple, TypeVar

from shared.breaker import BreakerRules, Circuit, Closed, HalfOpen, Open, ProbeNewsKind, failed, probed, tick
from shared.table import Breaker

FAILURE_STATUSES = frozenset({500, 502, 503, 504})
"""Statuses of a worker that does not work; 503 only without a `Retry-After`, with which it is merely busy."""

K = TypeVar("K", bound=Hashable)


class Blame(NamedTuple):
    """What became of a failure: requests begun since the one before, whether it counted, and opened the breaker."""

    requests: int
    counted: bool
    tripped: bool


def in_use(pool: tuple[K, ...], out: Mapping[K, float], percent: int) -> tuple[K, ...]:
    """Return those of a pool that may be chosen: without those in `out`, which maps to since when each is.

    At most `percent` of the pool stay out, those that went first; if all are out, all are in use.
    """
    broken = [worker for worker in pool if worker in out]
    if not broken or len(broken) == len(pool):
        return pool
    broken.sort(key=out.__getitem__)
    away = set(broken[: len(pool) * percent // 100])
    return tuple(worker for worker in pool if worker not in away)


class Breakers(Generic[K]):
    """Those that have left closed, or count failures. Times are in seconds on any one clock."""

    def __init__(self, plane: str) -> None:
        """`plane` is the plane's id, by which the table names who may probe."""
        self.rules: BreakerRules | None = BreakerRules()
        self._plane = plane
        self._circuits: dict[K, Circuit] = {}
        self._table: dict[K, Breaker] = {}
        self._epoch = 0
        self._told: dict[K, int] = {}
        self._asked: set[K] = set()

    # --- what comes in ---------------------------------------------------------------------------------

    def failed(self, worker: K, begun: int, now: float) -> Blame:
        """Note a failed request; `begun` counts all requests that the plane ever sent there."""
        requests = max(1, begun - self._told.get(worker, 0))
        before = self._circuits.get(worker, Closed())
        if self.rules is None or not isinstance(before, Closed):
            return Blame(requests, counted=False, tripped=False)
        self._told[worker] = begun
        after = self._circuits[worker] = failed(before, self.rules, now, requests=requests)
        return Blame(requests, counted=True, tripped=isinstance(after, Open))

    def lead(self, table: Mapping[K, Breaker | None], rules: BreakerRules | None, epoch: int, now: float) -> None:
        """Follow a table: what it says of each worker's breaker. Workers that it does not have are forgotten."""
        self.rules = rules
        for known in (self._circuits, self._told):
            for worker in known.keys() - table.keys():
                del known[worker]
        for worker, breaker in table.items():
            # Another control plane's "closed" may only mean that it has heard of nothing.
            if breaker != self._table.get(worker) or (epoch != self._epoch and breaker is not None):
                self._asked.discard(worker)
                self._circuits[worker] = _circuit(breaker, now)
        self._asked &= table.keys()
        self._table = {worker: breaker for worker, breaker in table.items() if breaker is not None}
        self._epoch = epoch
        if rules is None:
            self._circuits.clear()

    def tick(self, now: float, *, alone: bool) -> bool:
        """Do what time has made due; `alone` while the control plane is silent. Returns whether anything changed."""
        changed = False
        for worker, before in self._circuits.items():
            if self.rules is not None and (alone or worker not in self._table):
                after = tick(before, self.rules, now, (self._plane,))
                changed |= after != before
                self._circuits[worker] = after
        return changed

    # --- probes ----------------------------------------------------------------------------------------

    def probe(self, worker: K, now: float, *, alone: bool) -> Literal["wanted", "sent"] | None:
        """Say what to do with a request for a worker: send it there as a probe, or ask to be the one who may."""
        circuit = self._circuits.get(worker)
        if self.rules is None or not isinstance(circuit, HalfOpen):
            return None
        if not circuit.holder:
            if worker in self._table and not alone:
                if worker in self._asked:
                    return None
                self._asked.add(worker)
                return "wanted"
            circuit = HalfOpen(now, self._plane, passed=circuit.passed)
        if circuit.holder != self._plane or circuit.sent:
            return None
        self._circuits[worker] = probed(circuit, self.rules, "sent", self._plane, now)
        return "sent"

    def probed(self, worker: K, news: ProbeNewsKind, now: float) -> None:
        """Note how this plane's probe ended."""
        circuit = self._circuits.get(worker)
        if self.rules is not None and circuit is not None:
            self._circuits[worker] = probed(circuit, self.rules, news, self._plane, now)

    # --- what comes out --------------------------------------------------------------------------------

    def out(self) -> dict[K, float]:
        """Return the workers that should get no requests, with the time at which each opened, later ones higher.

        Those of the table come first, so that all planes leave out the same ones.
        """
        return {
            worker: self._table[worker].since if worker in self._table else inf
            for worker, circuit in self._circuits.items()
            if not isinstance(circuit, Closed)
        }

    def recovering(self) -> tuple[K, ...]:
        """Return the workers that may want a probe of this plane."""
        return tuple(
            worker
            for worker, circuit in self._circuits.items()
            if isinstance(circuit, HalfOpen) and circuit.holder in ("", self._plane)
        )


def _circuit(breaker: Breaker | None, now: float) -> Circuit:
    if breaker is None or breaker.state == "closed":
        return Closed()
    return Open(now) if breaker.state == "open" else HalfOpen(now, breaker.plane)
