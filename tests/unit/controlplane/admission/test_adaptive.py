"""The adaptive limit against workers of a known capacity: it finds it, stays there, and follows it when it changes."""

from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.admission.adaptive import LEAST, START, Limit, Seen, begin, step
from shared.limits import MOST_ADAPTIVE as MOST


class Worker:
    """Takes `slots` requests at a time, each for about `seconds`; the first byte comes `alone` after the queue."""

    def __init__(self, slots: int, seconds: float, alone: float, growth: float = 0.0) -> None:
        self.slots = slots
        self.seconds = seconds
        self.alone = alone
        self.growth = growth
        self.rng = random.Random(1)
        self.now = 0.0
        self.queue: list[float] = []
        self.running: list[tuple[float, float]] = []

    @property
    def open(self) -> int:
        return len(self.queue) + len(self.running)

    def run(self, until: float, wanted: int) -> Seen:
        """Let time pass while there are always `wanted` requests open, or more from before."""
        streams, first_bytes = 0, 0.0
        while True:
            while self.open < wanted:
                self.queue.append(self.now)
            while self.queue and len(self.running) < self.slots:
                came = self.queue.pop(0)
                slow = 1 + self.growth * len(self.running) / self.slots
                first_byte = self.now - came + self.alone * slow
                length = self.alone + self.seconds * slow * self.rng.uniform(0.5, 1.5)
                heapq.heappush(self.running, (self.now + length, first_byte))
            if not self.running or self.running[0][0] > until:
                self.now = until
                return Seen(streams, streams, first_bytes, self.open)
            self.now, first_byte = heapq.heappop(self.running)
            streams += 1
            first_bytes += first_byte


def found(worker: Worker, limit: Limit, seconds: int, demand: int = 10_000) -> tuple[Limit, list[float]]:
    """Return the limit after so many seconds, and what was kept in the last third of them."""
    kept = []
    begun = int(worker.now)
    for second in range(begun + 1, begun + seconds + 1):
        limit = step(limit, worker.run(second, min(demand, limit.now)), MOST, float(second))
        kept.append(limit.kept)
    return limit, kept[-seconds // 3 :]


@settings(max_examples=20, deadline=None)
@given(
    slots=st.integers(4, 60),
    seconds=st.floats(0.5, 4.0),
    prompt=st.floats(0.02, 0.15),
    growth=st.floats(0.0, 1.0),
)
def test_it_finds_the_capacity_and_stays_there(slots: int, seconds: float, prompt: float, growth: float) -> None:
    """`prompt` is the part of a request's seconds that goes before its first byte."""
    worker = Worker(slots, seconds, prompt * seconds, growth)
    _, kept = found(worker, begin(0, MOST, 0.0), int(100 * (seconds + 1)))
    assert min(kept) >= 0.85 * slots
    assert max(kept) <= 1.5 * slots + 4


def test_a_first_byte_that_takes_longer_in_a_full_batch_counts_as_a_queue() -> None:
    worker = Worker(12, 0.5, 0.5, growth=1.0)
    _, kept = found(worker, begin(0, MOST, 0.0), 150)
    assert min(kept) >= LEAST
    assert max(kept) < 0.85 * 12


@pytest.mark.parametrize(("before", "after"), [(100, 25), (25, 100), (64, 8)])
def test_it_follows_a_capacity_that_changes(before: int, after: int) -> None:
    worker = Worker(before, 2.0, 0.1)
    limit, _ = found(worker, begin(0, MOST, 0.0), 600)
    worker.slots = after
    _, kept = found(worker, limit, 900)
    assert min(kept) >= 0.85 * after
    assert max(kept) <= 1.5 * after + 4


def test_it_follows_requests_that_become_longer() -> None:
    worker = Worker(50, 2.0, 0.1)
    limit, _ = found(worker, begin(0, MOST, 0.0), 600)
    worker.alone = 0.8
    _, kept = found(worker, limit, 3600)
    assert min(kept) >= 0.85 * 50


def test_one_that_is_not_used_does_not_grow() -> None:
    worker = Worker(100, 1.0, 0.1)
    limit, _ = found(worker, begin(0, MOST, 0.0), 300, demand=5)
    assert limit.kept == START
    assert limit.alone == pytest.approx(0.1, rel=0.2)


def test_it_never_leaves_its_bounds() -> None:
    limit = begin(500, 100, 0.0)
    assert limit.kept == 100
    for second in range(1, 200):
        limit = step(limit, Seen(50, 50, 50.0 * second, 100), 100, float(second))
    assert limit.now == LEAST
    for second in range(200, 400):
        limit = step(limit, Seen(50, 50, 0.5, limit.now), 20, float(second))
        assert LEAST <= limit.now <= 20


def test_nothing_is_decided_by_few_answers() -> None:
    limit = begin(0, MOST, 0.0)
    for second in range(1, 60):
        limit = step(limit, Seen(0, 0, 0.0, 16), MOST, float(second))
    assert (limit.kept, limit.alone, limit.is_looking) == (START, None, True)


class Unstreamed(Worker):
    """As `Worker`, but only the answers after `begins` seconds are streamed."""

    begins = float("inf")

    def run(self, until: float, wanted: int) -> Seen:
        seen = super().run(until, wanted)
        return seen if until > self.begins else seen._replace(streams=0, first_byte_seconds=0.0)


@settings(max_examples=20, deadline=None)
@given(most=st.integers(LEAST, 300), seconds=st.floats(0.2, 4.0))
def test_without_streams_nothing_speaks_against_the_most_that_it_may_be(most: int, seconds: float) -> None:
    worker, limit = Unstreamed(1000, seconds, 0.1), begin(0, most, 0.0)
    assert limit.now <= max(LEAST, START // 2)
    for second in range(1, 1000):
        before, limit = limit, step(limit, worker.run(second, limit.now), most, float(second))
        assert limit.now >= before.now, "it comes down on evidence only"
        if limit.now == most:
            break
    assert limit.now == most


def test_without_streams_one_that_is_not_used_does_not_grow_and_is_not_halved() -> None:
    worker = Unstreamed(100, 1.0, 0.1)
    limit, _ = found(worker, begin(0, MOST, 0.0), 300, demand=5)
    assert (limit.now, limit.is_looking) == (START, False)


def test_streams_that_come_later_with_a_quiet_time_bring_it_down_to_what_the_worker_takes() -> None:
    worker = Unstreamed(20, 1.0, 0.1)
    worker.begins = 120.0
    limit, kept = found(worker, begin(0, MOST, 0.0), 120)
    assert kept[-1] > 200
    worker.queue.clear()
    limit, _ = found(worker, limit, 60, demand=10)
    _, kept = found(worker, limit, 900)
    assert min(kept) >= 0.85 * 20
    assert max(kept) <= 1.5 * 20 + 4


@settings(max_examples=8, deadline=None)
@given(slots=st.integers(8, 100), seconds=st.floats(0.5, 4.0), demand=st.sampled_from((2.0, 5.0, 1000.0)))
def test_streams_that_come_suddenly_bring_it_down_at_once(slots: int, seconds: float, demand: float) -> None:
    """`demand` are the requests that are wanted at a time from then on, for each slot."""
    worker, begins = Unstreamed(slots, seconds, 0.05 * seconds), 60 * (1 + int(seconds))
    worker.begins = begins
    limit, kept = found(worker, begin(0, MOST, 0.0), begins)
    above = max(kept)
    # All that was let in too much has to end, and once more about half of that.
    drain = round(2 * above / slots * (seconds + 0.05 * seconds) + 40 * (1 + seconds))
    limit, _ = found(worker, limit, drain, demand=int(slots * demand))
    assert limit.kept <= max(1.5 * slots + 4, min(1.25 * slots * demand, 2 * START))
    _, kept = found(worker, limit, int(100 * (seconds + 1)), demand=int(slots * demand))
    assert min(kept) >= 0.7 * slots


def test_what_it_grew_by_without_streams_goes_while_it_is_not_used_down_to_what_streams_had_shown() -> None:
    worker = Unstreamed(50, 1.0, 0.1)
    worker.begins = 0.0
    limit, _ = found(worker, begin(0, MOST, 0.0), 600)
    proven = limit.proven
    assert 0.85 * 50 <= proven <= 1.5 * 50 + 4
    worker.begins = float("inf")
    limit, kept = found(worker, limit, 300)
    assert kept[-1] > 200
    worker.queue.clear()
    before = limit.kept
    for second in range(901, 1500):
        limit = step(limit, worker.run(second, 5), MOST, float(second))
        assert proven <= limit.kept <= before
        before = limit.kept
    assert limit.kept <= 1.1 * proven


def test_a_few_streams_among_whole_answers_are_measured_as_ever() -> None:
    """One answer in ten is streamed, and the limit does not take the others for silence."""
    worker, limit = Worker(20, 1.0, 0.1), begin(0, MOST, 0.0)
    rest, kept = 0, []
    for second in range(1, 1500):
        seen = worker.run(second, limit.now)
        streams, rest = divmod(rest + seen.streams, 10)
        mean = seen.first_byte_seconds / seen.streams if seen.streams else 0.0
        seen = seen._replace(streams=streams, first_byte_seconds=streams * mean)
        limit = step(limit, seen, MOST, float(second))
        kept.append(limit.kept)
    assert min(kept[500:]) >= 0.85 * 20
    assert max(kept[500:]) <= 1.5 * 20 + 4
