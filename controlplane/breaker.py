"""The fleet's breakers: what all planes tell, merged by worker, and what the table says of it.

The machine is `shared.breaker`'s. Failures of all planes count together, so that many planes need no more of them than
one; a plane that has opened its own breaker is followed.
Half-open, one plane may probe for all.

No socket and no clock. `now` is monotonic, `wall` Unix time, both in seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from shared.breaker import BreakerRules, Circuit, Closed, HalfOpen, Open, due, failed, probed, state_of, tick
from shared.messages import Evidence, EvidenceKind, ProbeNews
from shared.table import Breaker, BreakerState, Worker

_SAID: dict[EvidenceKind, str] = {
    "connect-failed": "could not be reached",
    "closed-before-answer": "closed without an answer",
    "bad-answer": "the answer broke off",
    "stalled": "the answer stood still",
}


def _said(evidence: Evidence) -> str:
    return f"answered {evidence.status}" if evidence.kind == "error-status" else _SAID[evidence.kind]


@dataclass(slots=True)
class _Entry:
    """One life of one worker: its machine, why and since when it is not closed, how many probes failed since."""

    epoch: int
    circuit: Circuit
    reason: str = ""
    since: float = 0.0
    failed_probes: int = 0

    @property
    def told(self) -> str:
        """The reason, with what came of the probes."""
        if not self.failed_probes:
            return self.reason
        probes = "a probe has" if self.failed_probes == 1 else f"{self.failed_probes} probes have"
        return f"{self.reason}; {probes} failed since"


@dataclass(frozen=True, slots=True)
class Transition:
    """A breaker that has changed its state."""

    worker: str
    state: BreakerState
    reason: str


class Breakers:
    """Those of workers that some plane complained of. `epoch_of` tells a worker's present life, None for no worker."""

    def __init__(
        self,
        rules: BreakerRules | None,
        epoch_of: Callable[[str], int | None],
        changed: Callable[[Transition | None], None],
    ) -> None:
        """Without rules nothing ever opens. `changed` hears of all that the table must tell, transition or not."""
        self.transitions: Counter[tuple[str, BreakerState]] = Counter()
        self._rules = rules
        self._epoch_of = epoch_of
        self._changed = changed
        self._entries: dict[str, _Entry] = {}

    def use(self, rules: BreakerRules | None) -> None:
        """Go by other rules from now on; without rules every breaker is closed."""
        if rules is None and self._entries:
            self._entries.clear()
            self._changed(None)
        self._rules = rules

    def restore(self, workers: Iterable[Worker], *, now: float, wall: float) -> None:
        """Take over what an earlier control plane had published; a probe that it had given away is given anew."""
        for worker in workers:
            told = worker.breaker
            if self._rules is None or told is None or self._epoch_of(worker.id) != worker.epoch:
                continue
            passed = min(max(0.0, wall - told.since), self._rules.timeout)
            circuit = Open(now - passed) if told.state == "open" else HalfOpen(now)
            self._entries[worker.id] = _Entry(worker.epoch, circuit, told.reason.partition("; ")[0], told.since)

    def evidence(self, evidence: Evidence, *, now: float, wall: float) -> None:
        """Take in a failure that a plane saw."""
        rules = self._rules
        entry = self._entry(evidence.worker, evidence.worker_epoch)
        if rules is None or entry is None:
            return
        requests = max(1, evidence.requests)
        after = failed(entry.circuit, rules, now, requests=requests, tripped=evidence.tripped)
        if isinstance(after, Open) and isinstance(entry.circuit, Closed):
            entry.since, entry.failed_probes = wall, 0
            count = f"{rules.failure_threshold} {'time' if rules.failure_threshold == 1 else 'times'}"
            entry.reason = f"failed {count} within {rules.window:g} s, at last: {_said(evidence)}"
        self._move(evidence.worker, entry, after)

    def probe(self, news: ProbeNews, *, now: float) -> None:
        """Take in what a plane tells of a probe."""
        entry = self._entry(news.worker, news.worker_epoch)
        if self._rules is not None and entry is not None:
            if news.kind == "failed" and isinstance(entry.circuit, HalfOpen) and entry.circuit.holder == news.plane.id:
                entry.failed_probes += 1
            self._move(news.worker, entry, probed(entry.circuit, self._rules, news.kind, news.plane.id, now))

    def tick(self, planes: Collection[str], *, now: float) -> None:
        """Do what time has made due, and forget lives that are over; `planes` are the ids of those that live."""
        if self._rules is None:
            return
        for worker, entry in tuple(self._entries.items()):
            if self._epoch_of(worker) != entry.epoch:
                del self._entries[worker]
                continue
            self._move(worker, entry, tick(entry.circuit, self._rules, now, planes))

    def due(self) -> float | None:
        """Return when `tick` is wanted next; None while time changes nothing."""
        if self._rules is None:
            return None
        times = [when for entry in self._entries.values() if (when := due(entry.circuit, self._rules)) is not None]
        return min(times, default=None)

    def published(self, worker: Worker) -> Breaker | None:
        """Return what the table says of a worker's breaker; None while it is closed."""
        entry = self._entries.get(worker.id)
        if entry is None or entry.epoch != worker.epoch or isinstance(entry.circuit, Closed):
            return None
        return Breaker(
            state=state_of(entry.circuit),
            reason=entry.told,
            since=entry.since,
            plane=entry.circuit.holder if isinstance(entry.circuit, HalfOpen) else "",
        )

    def _entry(self, worker: str, epoch: int) -> _Entry | None:
        if self._epoch_of(worker) != epoch:
            return None
        entry = self._entries.get(worker)
        if entry is None or entry.epoch != epoch:
            entry = self._entries[worker] = _Entry(epoch, Closed())
        return entry

    def _move(self, worker: str, entry: _Entry, after: Circuit) -> None:
        before, entry.circuit = entry.circuit, after
        state = state_of(after)
        if state != state_of(before):
            self.transitions[(worker, state)] += 1
            self._changed(Transition(worker, state, entry.told))
        elif isinstance(before, HalfOpen) and isinstance(after, HalfOpen) and before.holder != after.holder:
            self._changed(None)
