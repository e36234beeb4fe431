import asyncio

from controlplane.discovery.static import static_workers
from controlplane.following import Following
from controlplane.health import HealthRules
from controlplane.registry import Registry
from shared.table import Worker
from tests.unit.controlplane.waiting import until

A, B = "http://a:1", "http://b:1"


def test_a_task_begins_and_ends_with_its_worker_and_a_new_life_has_a_new_one() -> None:
    async def run() -> None:
        registry = Registry(HealthRules())
        running: list[tuple[str, int]] = []

        async def watch(worker: Worker) -> None:
            running.append((worker.id, worker.epoch))
            try:
                await asyncio.Event().wait()
            finally:
                running.remove((worker.id, worker.epoch))

        following = Following(registry, watch)

        def have(*urls: str) -> None:
            registry.sync(static_workers(urls), now=0.0, wall=0.0)
            following.update()

        have(A)
        task = asyncio.create_task(following.run())
        await until(lambda: running == [(A, 1)])
        have(A, B)
        await until(lambda: running == [(A, 1), (B, 1)])
        have(B)
        have(B, A)
        await until(lambda: sorted(running) == [(A, 2), (B, 1)])
        task.cancel()
        await asyncio.wait((task,))
        assert running == []
        have(A)

    asyncio.run(run())
