"""A membership over a real registry, with planes and a disk that do what a test tells them to."""

from __future__ import annotations

from controlplane.discovery.runtime import RuntimeMembers
from controlplane.health import HealthRules
from controlplane.membership import Membership
from controlplane.registry import Change, Registry
from shared.clock import SystemClock
from shared.worker_attributes import WorkerAttributes

A = "http://a:1"


class Setting:
    def __init__(self, *configured: str, state: RuntimeMembers | None = None, longest_request: float = 1800.0) -> None:
        self.registry = Registry(HealthRules())
        self.order = (1, 1)
        self.changes: list[Change] = []
        self.kept: list[RuntimeMembers] = []
        self.serves = True
        self.idle = False
        self.silence = ""
        self.inflight = 0
        self.has_room = True
        self.refusal: str | None = None
        self.asked: set[tuple[str, tuple[int, int]]] = set()
        self.membership = Membership(
            self.registry,
            state or RuntimeMembers(configured=configured),
            fleet=self,
            store=self,
            clock=SystemClock(),
            longest_request=longest_request,
            order=self.order,
        )

    def ids(self) -> list[str]:
        return [member.worker.id for member in self.registry.members()]

    def state_of(self, worker: str) -> str:
        record = self.registry.worker(worker)
        return record.state if record is not None else "gone"

    def changed(self, changes: tuple[Change, ...]) -> tuple[int, int]:
        self.changes += changes
        self.order = (1, self.order[1] + 1)
        return self.order

    async def served(self, order: tuple[int, int], patience: float) -> bool:
        return self.serves

    def refuses(self, said: WorkerAttributes) -> str | None:
        return self.refusal

    def is_idle(self, worker_id: str, order: tuple[int, int]) -> bool:
        self.asked.add((worker_id, order))
        return self.idle

    def inflight_at(self, worker_id: str) -> int:
        return self.inflight

    def silence_at(self, worker_id: str, order: tuple[int, int]) -> str:
        return self.silence

    async def keep(self, state: RuntimeMembers) -> bool:
        self.kept.append(state)
        return self.has_room
