import asyncio

from controlplane.discovery.static import static_workers
from controlplane.following import Following
from controlplane.health import HealthRules
from controlplane.registry import Registry
from tests.unit.controlplane.waiting import until

A, B = "http://a:1", "http://b:1"


def test_a_task_begins_and_ends_with_its_worker_and_a_new_life_has_a_new_one() -> None:
    async def run() -> None:
        registry = Registry(HealthRules())
        running: list[tuple[str, int]] = []

        async def watch(url: str) -> None:
            life = (url, registry.at(url)[0].epoch)
            running.append(life)
            try:
                await asyncio.Event().wait()
            finally:
                running.remove(life)

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


def test_data_parallel_ranks_share_a_task() -> None:
    async def run() -> None:
        registry = Registry(HealthRules())
        running: list[str] = []

        async def watch(url: str) -> None:
            running.append(url)
            try:
                await asyncio.Event().wait()
            finally:
                running.remove(url)

        following = Following(registry, watch)
        for ids in ([f"{A}@0", f"{A}@1", f"{B}@0"], [f"{A}@1", f"{B}@0"]):
            registry.sync(static_workers(ids), now=0.0, wall=0.0)
            task = asyncio.create_task(following.run())
            await until(lambda: running == [A, B])
            task.cancel()
            await asyncio.wait((task,))
        task = asyncio.create_task(following.run())
        await until(lambda: running == [A, B])
        registry.sync(static_workers([f"{B}@0"]), now=0.0, wall=0.0)
        following.update()
        await until(lambda: running == [B])
        task.cancel()
        await asyncio.wait((task,))

    asyncio.run(run())
