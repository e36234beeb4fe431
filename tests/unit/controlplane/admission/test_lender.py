import asyncio
from collections import Counter

import pytest

from controlplane.admission.lender import Lender
from controlplane.planes import Planes
from shared.leases import LEASE_LIFE, Lease
from shared.plane_identity import PlaneIdentity
from shared.table import RoutingTable, Settings, Stamp
from tests.unit.controlplane.reports import identity
from tests.unit.controlplane.waiting import until


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


class Nobody:
    def grant(self, plane: str, number: int, answers: int, since: int, leases: dict[str, Lease | None]) -> None:
        pass


def test_only_where_there_are_limits_the_processes_of_silent_planes_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("controlplane.admission.lender._LOOK_INTERVAL", 0.01)
    looks: Counter[str] = Counter()

    def lender(settings: Settings) -> Lender:
        clock, plane = Clock(), identity("p")

        def is_dead(_: PlaneIdentity) -> bool:
            looks["limited" if settings.max_concurrent_requests else "free"] += 1
            return False

        made = Lender(1, {plane.id: plane}, Planes(), clock, is_dead)
        made.use(RoutingTable(stamp=Stamp(1, 1, 0), workers={}, models={}, settings=settings))
        clock.now += 2 * LEASE_LIFE
        return made

    async def run() -> None:
        limited, free = lender(Settings(max_concurrent_requests=5)), lender(Settings())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one.run(Nobody())) for one in (limited, free)]
            await until(lambda: looks["limited"] >= 3)
            for task in tasks:
                task.cancel()

    asyncio.run(run())
    assert not looks["free"]
