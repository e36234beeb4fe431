"""The lender in an event loop: what it does in one turn, and what in the next."""

from __future__ import annotations

import asyncio

from controlplane.admission.lender import Lender
from controlplane.planes import Planes
from shared.clock import SystemClock
from shared.leases import Holding, Lease, LeaseReport
from shared.plane_identity import PlaneIdentity
from shared.table import Settings, Worker, make_table

MANY = 300
PLANE = PlaneIdentity(id="a", slot=0, pid=1, version="1", started=0.0)


class Sent:
    """The way to a plane: how many leases each grant had, and when there are so many."""

    def __init__(self) -> None:
        self.leases: list[int] = []
        self.arrived = asyncio.Event()

    def grant(self, plane: str, number: int, answers: int, since: int, leases: dict[str, Lease | None]) -> None:
        self.leases.append(len(leases))
        self.arrived.set()


def test_what_it_is_behind_with_it_does_at_once_and_lets_others_work_meanwhile() -> None:
    async def test() -> None:
        lender = Lender(1, {}, Planes(), SystemClock(), lambda _: False)
        workers = [Worker(id=f"w{number}", url="http://w", epoch=1, state="ready") for number in range(MANY)]
        settings = Settings(worker_max_concurrent_requests=9)
        lender.use(make_table(epoch=1, version=1, workers=workers, models=[], settings=settings))
        holdings = {name: Holding(1, 0, 9, ({"": 1},)) for name in lender.limits}
        lender.heard(LeaseReport(PLANE, 1, 1, 0, 0, 0, holdings, 1))
        sent, turns = Sent(), 0
        working = asyncio.create_task(lender._lend(sent))
        async with asyncio.timeout(20):
            while not sent.arrived.is_set():
                await asyncio.sleep(0)
                turns += lender.ledger.is_behind
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        assert sent.leases == [MANY]
        assert turns >= MANY // 64

    asyncio.run(test())
