"""From what planes report of workers to what is lent of the workers' limits."""

from __future__ import annotations

import msgspec

from controlplane.admission.adapting import Adapting
from controlplane.admission.adaptive import LEAST, START
from controlplane.admission.lender import Lender
from controlplane.planes import Planes
from shared.plane_report import WorkerOutcomes
from shared.table import RoutingTable, Settings, Worker, make_table
from tests.unit.controlplane.reports import identity, report


class HandClock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


class House:
    """A lender, and one plane that tells of two workers."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.planes = Planes()
        self.lender = Lender(1, {}, self.planes, self.clock, lambda _: False)
        self.adapting = Adapting(self.lender, self.planes, self.clock)
        self.sums = [0, 0.0]
        self.epoch = 1

    def use(self, *, adaptive: bool = True, most: int = 0) -> None:
        table = self.table(adaptive=adaptive, most=most)
        self.lender.use(table)
        self.adapting.use(table)

    def table(self, *, adaptive: bool, most: int) -> RoutingTable:
        settings = Settings(adaptive_worker_limit=adaptive, worker_max_concurrent_requests=most)
        workers = (Worker(id="a", url="http://a:1", epoch=self.epoch), Worker(id="b", url="http://b:1"))
        return make_table(epoch=1, version=1, workers=workers, settings=settings)

    def second(self, answers: int, seconds_each: float, inflight: int) -> None:
        self.clock.now += 1.0
        self.sums = [self.sums[0] + answers, self.sums[1] + answers * seconds_each]
        count = int(self.sums[0])
        told = report(
            identity(),
            inflight={"a": inflight},
            outcomes={"a": WorkerOutcomes(self.epoch, count, count, 0, count, self.sums[1])},
        )
        self.planes.counters(msgspec.structs.replace(told, seq=count), self.clock.monotonic())
        self.adapting.turn()

    def amounts(self) -> dict[str, int]:
        return {name: amount for name, (_, amount) in self.lender.limits.items()}


def test_what_is_lent_of_a_workers_limit_follows_its_answers() -> None:
    house = House()
    house.use(most=20)
    house.second(0, 0.1, 8)
    # It begins with a look at how it is without a queue.
    assert house.amounts() == {"worker:a": START // 2, "worker:b": START // 2}
    for _ in range(6):
        house.second(20, 0.1, START // 2)
    assert house.amounts()["worker:a"] >= START
    lowest = START
    for _ in range(8):
        house.second(20, 5.0, 20)
        lowest = min(lowest, house.amounts()["worker:a"])
    assert lowest == LEAST
    # Nobody has asked the other one.
    assert house.amounts()["worker:b"] == START // 2


def test_another_life_of_a_worker_begins_anew() -> None:
    house = House()
    house.use()
    for _ in range(6):
        house.second(20, 0.1, START // 2)
    assert house.amounts()["worker:a"] >= START
    house.epoch = 2
    house.use()
    house.second(1, 0.1, 3)
    assert house.amounts()["worker:a"] == START // 2


def test_switched_off_the_limits_are_what_was_said() -> None:
    house = House()
    house.use(most=20)
    house.second(0, 0.1, 8)
    house.use(adaptive=False, most=20)
    house.second(1, 0.1, 8)
    assert house.amounts() == {"worker:a": 20, "worker:b": 20}
