"""Outlier ejection: who is ejected, until when, and for how long the next time.

A worker that `controlplane.outliers` finds gets no requests for the base time, multiplied by how often it has been
ejected in a row, up to the longest time (as Envoy does it). Each time in service that is as long as its last ejection
takes one off the count. When the time is over it is ready again, with a slow start (`dataplane.slow_start`).

At most `max_percent` of a pool are out for what requests say of them, workers with an open breaker included: when
that many look bad, the fault is rather with what they share, and to take out more makes an outage of it.

A new life of a worker begins without a record. No socket and no clock; `now` is monotonic seconds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from controlplane.outliers import Cause, Outlier, OutlierRules, Sample, outliers
from shared.table import Role, Worker


@dataclass(slots=True)
class _Record:
    """One life of one worker: how often in a row it was ejected, and until when it is or was."""

    epoch: int
    times: int
    until: float
    length: float
    ended: bool = False

    def row(self, now: float) -> int:
        """How many ejections still count when the next one follows."""
        return max(0, self.times - int(max(0.0, now - self.until) / self.length))


class Ejected(NamedTuple):
    """A worker that has just been ejected, for `seconds`."""

    worker: Worker
    outlier: Outlier
    seconds: float


class Ejections:
    """The ejections of all workers, and how many there were by worker and cause."""

    def __init__(self, rules: OutlierRules) -> None:
        self.counts: Counter[tuple[str, Cause]] = Counter()
        self.rules = rules
        self._records: dict[str, _Record] = {}

    def restore(self, workers: Collection[Worker], *, now: float, wall: float) -> None:
        """Take over the ejections of an earlier control plane. How long each was to be is not known: its base time."""
        for worker in workers:
            if worker.state == "ejected":
                left = self.rules.base_time - max(0.0, wall - worker.since)
                self._records[worker.id] = _Record(worker.epoch, 1, now + max(0.0, left), self.rules.base_time)

    def judge(
        self, workers: Sequence[Worker], broken: Collection[str], samples: Mapping[str, Sample], now: float
    ) -> tuple[Ejected, ...]:
        """Return who is to be ejected after an interval. `broken` are the ids of workers with an open breaker."""
        pools: defaultdict[tuple[Role, tuple[str, ...]], list[Worker]] = defaultdict(list)
        for worker in workers:
            if worker.state in ("ready", "ejected"):
                pools[worker.role, tuple(sorted(worker.models or ()))].append(worker)
        found = []
        for pool in pools.values():
            found += self._judge_pool(pool, broken, samples, now)
        return tuple(found)

    def over(self, workers: Collection[Worker], now: float) -> tuple[str, ...]:
        """Return those whose ejection is over, each once: its time, its life, or ejection as such."""
        epochs = {worker.id: worker.epoch for worker in workers}
        for series in [series for series in self.counts if series[0] not in epochs]:
            del self.counts[series]
        done = []
        for worker, record in list(self._records.items()):
            is_past = epochs.get(worker) != record.epoch or not self.rules.interval
            if not record.ended and (is_past or now >= record.until):
                record.ended = True
                done.append(worker)
            if is_past or (record.ended and not record.row(now)):
                del self._records[worker]
        return tuple(done)

    def _judge_pool(
        self, pool: Sequence[Worker], broken: Collection[str], samples: Mapping[str, Sample], now: float
    ) -> list[Ejected]:
        out = {worker.id for worker in pool if worker.state == "ejected" or worker.id in broken}
        most = len(pool) * self.rules.max_percent // 100
        by_id = {worker.id: worker for worker in pool if worker.id not in out}
        judged = [samples[worker] for worker in by_id if worker in samples]
        found = outliers(judged, self.rules)[: max(0, most - len(out))]
        return [self._eject(by_id[outlier.worker], outlier, now) for outlier in found]

    def _eject(self, worker: Worker, outlier: Outlier, now: float) -> Ejected:
        known = self._records.get(worker.id)
        times = 1 + (known.row(now) if known is not None else 0)
        length = min(self.rules.base_time * times, max(self.rules.base_time, self.rules.max_time))
        self._records[worker.id] = _Record(worker.epoch, times, now + length, length)
        self.counts[(worker.id, outlier.cause)] += 1
        return Ejected(worker, outlier, length)
